"""Tiny random language models and a tokenizer trained on the spot, for tests that need no weights."""

from __future__ import annotations

import copy
from functools import lru_cache
from typing import Any

from emolib.emotions import EMOTIONS
from emolib.prompting.templates import CORRECTED, PAPER

SENTENCES = [
    "i feel so very alone tonight",
    "What a day, I could sing!",
    "He slammed the door and I shook with rage.",
    "hello?",
    "They left without a word, and the house has been silent ever since then.",
    "my hands would not stop trembling in the dark",
    "You came back! I can't believe it",
    "I hold her hand and want nothing else",
]


@lru_cache(maxsize=1)
def tiny_tokenizer() -> Any:
    """A byte-level BPE tokenizer of 600 tokens, with <|end|> as end and padding token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=["<|end|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    # The labels often enough that each is one token: labels that begin alike are refused.
    labels = [label for label in EMOTIONS for _ in range(50)]
    tokenizer.train_from_iterator([*SENTENCES * 3, PAPER.template, CORRECTED.template, *labels], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|end|>")


#: A chat template whose only control token ends each message.
TINY_CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] + '\\n' + message['content'] + '<|end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant\\n' }}{% endif %}"
)


def tiny_chat_tokenizer() -> Any:
    """The tokenizer with a chat template."""
    tokenizer = copy.deepcopy(tiny_tokenizer())
    tokenizer.chat_template = TINY_CHAT_TEMPLATE
    return tokenizer


def tiny_model(family: str = "llama", seed: int = 0) -> Any:
    """A random two-layer causal language model of `family` ("llama", "qwen2" or "gemma") in float32."""
    import torch
    from transformers import (
        GemmaConfig,
        GemmaForCausalLM,
        LlamaConfig,
        LlamaForCausalLM,
        Qwen2Config,
        Qwen2ForCausalLM,
    )

    configs = {"llama": LlamaConfig, "qwen2": Qwen2Config, "gemma": GemmaConfig}
    classes = {"llama": LlamaForCausalLM, "qwen2": Qwen2ForCausalLM, "gemma": GemmaForCausalLM}
    torch.manual_seed(seed)
    config = configs[family](
        vocab_size=len(tiny_tokenizer()),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=512,
        eos_token_id=0,
        bos_token_id=0,
        pad_token_id=0,
        tie_word_embeddings=True,
    )
    return classes[family](config).eval()
