# Every target makes the environment it needs, once, and is quick when repeated.
# PYTHON may be any of 3.11 to 3.13; BACKEND is torch, tf or flax.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
BACKEND ?= torch
SENTENCE ?= Plants create [MASK] through a process known as photosynthesis.
PIP_FLAGS = --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test test-all lint peers bench bundled parity verify-published clean help

help:
	@echo "make demo [BACKEND=torch|tf|flax]  fill a sentence with the bundled model"
	@echo "make test                          all tests, all three backends"
	@echo "make test-all                      the long lanes too"
	@echo "make lint                          ruff and pyright"
	@echo "make peers                         the environments of transformers 4.57.6 and of keras-hub 0.32"
	@echo "make bench                         ours beside the peers (needs make peers)"
	@echo "make bundled CORPUS=FOLDER         train the bundled model again, an hour on two cores"
	@echo "make parity                        each backend beside the float64 reference"
	@echo "make verify-published              the eight published models (needs a network)"

# An environment is good as long as the files that decide it have not changed.
.venv-%/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear .venv-$*
	.venv-$*/bin/python -m pip install $(PIP_FLAGS) --editable ".[$(EXTRAS)]"
	touch $@

.venv-torch/.ready: EXTRAS = torch
.venv-tf/.ready: EXTRAS = tf
.venv-flax/.ready: EXTRAS = flax
.venv-test/.ready: EXTRAS = torch,tf,flax,tpu,convert,train,dev
.venv-bench/.ready: EXTRAS = torch,tf,flax,tpu,convert,train,dev,bench

demo: .venv-$(BACKEND)/.ready
	.venv-$(BACKEND)/bin/albert fill-mask --backend $(BACKEND) "$(SENTENCE)"

test: .venv-test/.ready
	.venv-test/bin/python -m pytest --numprocesses 2 --dist loadgroup

test-all: .venv-test/.ready
	.venv-test/bin/python -m pytest --numprocesses 2 --dist loadgroup --long

lint: .venv-test/.ready
	.venv-test/bin/ruff check .
	.venv-test/bin/ruff format --check .
	.venv-test/bin/pyright --pythonpath .venv-test/bin/python

.venv-peers/.ready: requirements-peers.txt
.venv-peers-keras/.ready: requirements-peers-keras.txt
.venv-peers/.ready .venv-peers-keras/.ready:
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

peers: .venv-peers/.ready .venv-peers-keras/.ready

bench: .venv-bench/.ready .venv-peers/.ready .venv-peers-keras/.ready
	.venv-bench/bin/python benchmarks/encoder.py --peers .venv-peers/bin/python --keras-peers .venv-peers-keras/bin/python
	.venv-bench/bin/python benchmarks/training.py --peers .venv-peers/bin/python
	.venv-bench/bin/python benchmarks/tokenization.py --peers .venv-peers/bin/python
	.venv-bench/bin/python benchmarks/pretraining_data.py
	.venv-bench/bin/python benchmarks/convert.py

# The bundled model again, vocabulary and curve included, from CORPUS: a folder with the three texts that its card names.
bundled: .venv-bench/.ready
	.venv-bench/bin/albert train-tokenizer $(TEXTS) --vocab-size 8192 --output $(OUTPUT)/vocabulary
	.venv-bench/bin/albert pretrain $(TEXTS) --held-out $(HELD_OUT) --tokenizer $(OUTPUT)/vocabulary \
	  --recipe albert_core/bundled/albert-openstax/recipe.toml --informed-start --autocast bfloat16 --every 1000 \
	  --save-dtype float16 --output $(OUTPUT)/run
	.venv-bench/bin/python benchmarks/plot_run.py $(OUTPUT)/run/checkpoint-*/training_state.json $(OUTPUT)/curve.svg
	.venv-bench/bin/python benchmarks/bundled_model.py $(HELD_OUT) --model $(OUTPUT)/run/model
bundled: TEXTS = $(CORPUS)/openstax.train.txt.xz $(CORPUS)/speeches.train.txt.xz
bundled: HELD_OUT = $(CORPUS)/openstax.heldout.txt.xz
bundled: OUTPUT = runs/albert-openstax

parity: .venv-test/.ready
	.venv-test/bin/albert parity

verify-published: .venv-test/.ready
	.venv-test/bin/python benchmarks/published.py

clean:
	rm -rf .venv-* .pytest_cache .ruff_cache .hypothesis build dist
