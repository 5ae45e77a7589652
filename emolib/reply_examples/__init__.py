"""Written exchanges that resemble a message: what a small model is shown before it replies.

A model of 135 million parameters knows little of people, but it can adapt a reply that somebody wrote. So each message
of the user is preceded by an exchange of the corpus whose message resembles it, if there is one ("retrieve and refine",
Weston et al. 2018, arXiv:1808.04776); the adapter was trained with such examples, the exchanges of other conversations.
Where the written reply suits the message as it is, it is the reply.

Resemblance (`index`) is the mean of two cosines: of the words and word pairs by their TF-IDF, and of the mean word
vectors by their inverse frequency (Arora et al. 2017, "A simple but tough-to-beat baseline"). Whether a reply suits
(`fit`) is a logistic regression over what the two messages and the reply share and do not. The word vectors (`words`)
are the input embeddings of SmolLM2-135M in 96 dimensions (`benchmarks/_word_vectors.py`).
"""

from emolib.reply_examples.replies import BUNDLED, ReplyExamples
from emolib.reply_examples.words import WordVectors

__all__ = ["BUNDLED", "ReplyExamples", "WordVectors"]
