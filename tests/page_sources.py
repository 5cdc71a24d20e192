"""Source text of the examples of the ALBERT page in three dialects, as users of transformers 4.57 write them.

Only the import lines name this project. `test_page_examples` runs them.
"""

PROMPT = "In Italy, pizza served in formal settings, such as at a restaurant, is presented unsliced."
CHOICES = ["It is eaten with a fork and a knife.", "It is eaten while held in the hand."]

SOURCES = {
    "base model": {
        "torch": """
import torch
from albert_torch import AlbertModel, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("albert/albert-base-v2")
model = AlbertModel.from_pretrained("albert/albert-base-v2")

inputs = tokenizer("Hello, my dog is cute", return_tensors="pt")
outputs = model(**inputs)
last_hidden_states = outputs.last_hidden_state
""",
        "tf": """
import tensorflow as tf
from albert_tf import AutoTokenizer, TFAlbertModel

tokenizer = AutoTokenizer.from_pretrained("albert/albert-base-v2")
model = TFAlbertModel.from_pretrained("albert/albert-base-v2")

inputs = tokenizer("Hello, my dog is cute", return_tensors="tf")
outputs = model(inputs)
last_hidden_states = outputs.last_hidden_state
""",
        "flax": """
from albert_flax import AutoTokenizer, FlaxAlbertModel

tokenizer = AutoTokenizer.from_pretrained("albert/albert-base-v2")
model = FlaxAlbertModel.from_pretrained("albert/albert-base-v2")

inputs = tokenizer("Hello, my dog is cute", return_tensors="jax")
outputs = model(**inputs)
last_hidden_states = outputs.last_hidden_state
""",
    },
    "pretraining": {
        "torch": """
import torch
from albert_torch import AlbertForPreTraining, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("albert/albert-base-v2")
model = AlbertForPreTraining.from_pretrained("albert/albert-base-v2")

input_ids = torch.tensor(tokenizer.encode("Hello, my dog is cute", add_special_tokens=True)).unsqueeze(0)
outputs = model(input_ids)  # a batch of one
prediction_logits = outputs.prediction_logits
sop_logits = outputs.sop_logits
""",
        "tf": """
import tensorflow as tf
from albert_tf import AutoTokenizer, TFAlbertForPreTraining

tokenizer = AutoTokenizer.from_pretrained("albert/albert-base-v2")
model = TFAlbertForPreTraining.from_pretrained("albert/albert-base-v2")

input_ids = tf.constant(tokenizer.encode("Hello, my dog is cute", add_special_tokens=True))[None, :]
outputs = model(input_ids)  # a batch of one
prediction_logits = outputs.prediction_logits
sop_logits = outputs.sop_logits
""",
        "flax": """
from albert_flax import AutoTokenizer, FlaxAlbertForPreTraining

tokenizer = AutoTokenizer.from_pretrained("albert/albert-base-v2")
model = FlaxAlbertForPreTraining.from_pretrained("albert/albert-base-v2")

inputs = tokenizer("Hello, my dog is cute", return_tensors="np")
outputs = model(**inputs)
prediction_logits = outputs.prediction_logits
sop_logits = outputs.sop_logits
""",
    },
    "masked LM": {
        "torch": """
import torch
from albert_torch import AlbertForMaskedLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("albert-base-v2")
model = AlbertForMaskedLM.from_pretrained("albert-base-v2")

inputs = tokenizer("The capital of [MASK] is Paris.", return_tensors="pt")
with torch.no_grad():
    logits = model(**inputs).logits

mask_token_index = (inputs.input_ids == tokenizer.mask_token_id)[0].nonzero(as_tuple=True)[0]
predicted_token_id = logits[0, mask_token_index].argmax(axis=-1)
answer = tokenizer.decode(predicted_token_id)

labels = tokenizer("The capital of France is Paris.", return_tensors="pt")["input_ids"]
labels = torch.where(inputs.input_ids == tokenizer.mask_token_id, labels, -100)
outputs = model(**inputs, labels=labels)
loss = round(outputs.loss.item(), 6)
""",
        "tf": """
import tensorflow as tf
from albert_tf import AutoTokenizer, TFAlbertForMaskedLM

tokenizer = AutoTokenizer.from_pretrained("albert-base-v2")
model = TFAlbertForMaskedLM.from_pretrained("albert-base-v2")

inputs = tokenizer("The capital of [MASK] is Paris.", return_tensors="tf")
logits = model(**inputs).logits

mask_token_index = tf.where((inputs.input_ids == tokenizer.mask_token_id)[0])
selected_logits = tf.gather_nd(logits[0], indices=mask_token_index)
predicted_token_id = tf.math.argmax(selected_logits, axis=-1)
answer = tokenizer.decode(predicted_token_id)

mask_token_index = tf.where(inputs.input_ids == tokenizer.mask_token_id)[0][1]
assert answer == tokenizer.decode(tf.math.argmax(logits[0, mask_token_index], axis=-1))

labels = tokenizer("The capital of France is Paris.", return_tensors="tf")["input_ids"]
labels = tf.where(inputs.input_ids == tokenizer.mask_token_id, labels, -100)
outputs = model(**inputs, labels=labels)
loss = round(float(outputs.loss), 6)
""",
        "flax": """
import jax.numpy as jnp
from albert_flax import AutoTokenizer, FlaxAlbertForMaskedLM

tokenizer = AutoTokenizer.from_pretrained("albert-base-v2")
model = FlaxAlbertForMaskedLM.from_pretrained("albert-base-v2")

inputs = tokenizer("The capital of [MASK] is Paris.", return_tensors="jax")
outputs = model(**inputs)
logits = outputs.logits

mask_token_index = jnp.where(inputs["input_ids"] == tokenizer.mask_token_id)[1]
answer = tokenizer.decode(logits[0, mask_token_index].argmax(axis=-1))

labels = tokenizer("The capital of France is Paris.", return_tensors="jax")["input_ids"]
labels = jnp.where(inputs.input_ids == tokenizer.mask_token_id, labels, -100)
loss = model(**inputs, labels=labels).loss
""",
    },
    "multiple choice": {
        "torch": f"""
import torch
from albert_torch import AlbertForMultipleChoice, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("albert/albert-xxlarge-v2")
model = AlbertForMultipleChoice.from_pretrained("albert/albert-xxlarge-v2")

prompt = {PROMPT!r}
choice0, choice1 = {CHOICES!r}
labels = torch.tensor(0).unsqueeze(0)  # the first choice is right; a batch of one

encoding = tokenizer([prompt, prompt], [choice0, choice1], return_tensors="pt", padding=True)
outputs = model(**{{k: v.unsqueeze(0) for k, v in encoding.items()}}, labels=labels)
loss = outputs.loss
logits = outputs.logits
""",
        "tf": f"""
import tensorflow as tf
from albert_tf import AutoTokenizer, TFAlbertForMultipleChoice

tokenizer = AutoTokenizer.from_pretrained("albert/albert-xxlarge-v2")
model = TFAlbertForMultipleChoice.from_pretrained("albert/albert-xxlarge-v2")

prompt = {PROMPT!r}
choice0, choice1 = {CHOICES!r}

encoding = tokenizer([prompt, prompt], [choice0, choice1], return_tensors="tf", padding=True)
inputs = {{k: tf.expand_dims(v, 0) for k, v in encoding.items()}}
outputs = model(inputs)  # a batch of one
logits = outputs.logits
loss = model(inputs, labels=tf.constant([0])).loss
""",
        "flax": f"""
import jax.numpy as jnp
from albert_flax import AutoTokenizer, FlaxAlbertForMultipleChoice

tokenizer = AutoTokenizer.from_pretrained("albert/albert-xxlarge-v2")
model = FlaxAlbertForMultipleChoice.from_pretrained("albert/albert-xxlarge-v2")

prompt = {PROMPT!r}
choice0, choice1 = {CHOICES!r}

encoding = tokenizer([prompt, prompt], [choice0, choice1], return_tensors="jax", padding=True)
outputs = model(**{{k: v[None, :] for k, v in encoding.items()}})
logits = outputs.logits
loss = model(**{{k: v[None, :] for k, v in encoding.items()}}, labels=jnp.array([0])).loss
""",
    },
    "sequence classification": {
        "torch": """
import torch
from albert_torch import AlbertForSequenceClassification, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("example/albert-reviews")
model = AlbertForSequenceClassification.from_pretrained("example/albert-reviews")

inputs = tokenizer("Hello, my dog is cute", return_tensors="pt")
with torch.no_grad():
    logits = model(**inputs).logits
predicted_class_id = logits.argmax().item()
answer = model.config.id2label[predicted_class_id]

num_labels = len(model.config.id2label)
model = AlbertForSequenceClassification.from_pretrained("example/albert-reviews", num_labels=num_labels)
labels = torch.tensor([1])
loss = model(**inputs, labels=labels).loss
""",
        "tf": """
import tensorflow as tf
from albert_tf import AutoTokenizer, TFAlbertForSequenceClassification

tokenizer = AutoTokenizer.from_pretrained("example/albert-reviews")
model = TFAlbertForSequenceClassification.from_pretrained("example/albert-reviews")

inputs = tokenizer("Hello, my dog is cute", return_tensors="tf")
logits = model(**inputs).logits
predicted_class_id = int(tf.math.argmax(logits, axis=-1)[0])
answer = model.config.id2label[predicted_class_id]

num_labels = len(model.config.id2label)
model = TFAlbertForSequenceClassification.from_pretrained("example/albert-reviews", num_labels=num_labels)
labels = tf.constant(1)
loss = model(**inputs, labels=labels).loss
""",
        "flax": """
import jax.numpy as jnp
from albert_flax import AutoTokenizer, FlaxAlbertForSequenceClassification

tokenizer = AutoTokenizer.from_pretrained("example/albert-reviews")
model = FlaxAlbertForSequenceClassification.from_pretrained("example/albert-reviews")

inputs = tokenizer("Hello, my dog is cute", return_tensors="jax")
outputs = model(**inputs)
logits = outputs.logits
answer = model.config.id2label[int(logits.argmax())]

loss = model(**inputs, labels=jnp.array([1])).loss
""",
    },
    "multi-label classification": {
        "torch": """
import torch
from albert_torch import AlbertForSequenceClassification, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("example/albert-topics")
model = AlbertForSequenceClassification.from_pretrained(
    "example/albert-topics", problem_type="multi_label_classification"
)

inputs = tokenizer("Hello, my dog is cute", return_tensors="pt")
with torch.no_grad():
    logits = model(**inputs).logits
predicted_class_ids = torch.arange(0, logits.shape[-1])[torch.sigmoid(logits).squeeze(dim=0) > 0.5]

num_labels = len(model.config.id2label)
model = AlbertForSequenceClassification.from_pretrained(
    "example/albert-topics", num_labels=num_labels, problem_type="multi_label_classification"
)
labels = torch.sum(
    torch.nn.functional.one_hot(predicted_class_ids[None, :].clone(), num_classes=num_labels), dim=1
).to(torch.float)
loss = model(**inputs, labels=labels).loss
""",
        "tf": """
import tensorflow as tf
from albert_tf import AutoTokenizer, TFAlbertForSequenceClassification

tokenizer = AutoTokenizer.from_pretrained("example/albert-topics")
model = TFAlbertForSequenceClassification.from_pretrained(
    "example/albert-topics", problem_type="multi_label_classification"
)

inputs = tokenizer("Hello, my dog is cute", return_tensors="tf")
logits = model(**inputs).logits
predicted_class_ids = tf.where(tf.sigmoid(logits[0]) > 0.5)[:, 0]

num_labels = len(model.config.id2label)
labels = tf.reduce_sum(tf.one_hot(predicted_class_ids[None, :], depth=num_labels), axis=1)
loss = model(**inputs, labels=labels).loss
""",
        "flax": """
import jax
import jax.numpy as jnp
from albert_flax import AutoTokenizer, FlaxAlbertForSequenceClassification

tokenizer = AutoTokenizer.from_pretrained("example/albert-topics")
model = FlaxAlbertForSequenceClassification.from_pretrained(
    "example/albert-topics", problem_type="multi_label_classification"
)

inputs = tokenizer("Hello, my dog is cute", return_tensors="jax")
logits = model(**inputs).logits
predicted_class_ids = jnp.arange(logits.shape[-1])[jax.nn.sigmoid(logits[0]) > 0.5]

num_labels = len(model.config.id2label)
labels = jax.nn.one_hot(predicted_class_ids[None, :], num_labels).sum(axis=1)
loss = model(**inputs, labels=labels).loss
""",
    },
    "token classification": {
        "torch": """
import torch
from albert_torch import AlbertForTokenClassification, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("example/albert-names")
model = AlbertForTokenClassification.from_pretrained("example/albert-names")

inputs = tokenizer(
    "HuggingFace is a company based in Paris and New York", add_special_tokens=False, return_tensors="pt"
)
with torch.no_grad():
    logits = model(**inputs).logits
predicted_token_class_ids = logits.argmax(-1)
answer = [model.config.id2label[t.item()] for t in predicted_token_class_ids[0]]

labels = predicted_token_class_ids
loss = model(**inputs, labels=labels).loss
""",
        "tf": """
import tensorflow as tf
from albert_tf import AutoTokenizer, TFAlbertForTokenClassification

tokenizer = AutoTokenizer.from_pretrained("example/albert-names")
model = TFAlbertForTokenClassification.from_pretrained("example/albert-names")

inputs = tokenizer(
    "HuggingFace is a company based in Paris and New York", add_special_tokens=False, return_tensors="tf"
)
logits = model(**inputs).logits
predicted_token_class_ids = tf.math.argmax(logits, axis=-1)
answer = [model.config.id2label[t] for t in predicted_token_class_ids[0].numpy().tolist()]

labels = predicted_token_class_ids
loss = tf.math.reduce_mean(model(**inputs, labels=labels).loss)
""",
        "flax": """
from albert_flax import AutoTokenizer, FlaxAlbertForTokenClassification

tokenizer = AutoTokenizer.from_pretrained("example/albert-names")
model = FlaxAlbertForTokenClassification.from_pretrained("example/albert-names")

inputs = tokenizer(
    "HuggingFace is a company based in Paris and New York", add_special_tokens=False, return_tensors="jax"
)
outputs = model(**inputs)
logits = outputs.logits
predicted_token_class_ids = logits.argmax(-1)
answer = [model.config.id2label[t] for t in predicted_token_class_ids[0].tolist()]

loss = model(**inputs, labels=predicted_token_class_ids).loss
""",
    },
    "question answering": {
        "torch": """
import torch
from albert_torch import AlbertForQuestionAnswering, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("example/albert-answers")
model = AlbertForQuestionAnswering.from_pretrained("example/albert-answers")

question, text = "Who was Jim Henson?", "Jim Henson was a nice puppet"
inputs = tokenizer(question, text, return_tensors="pt")
with torch.no_grad():
    outputs = model(**inputs)
start_scores, end_scores = outputs.start_logits, outputs.end_logits

answer_start_index = outputs.start_logits.argmax()
answer_end_index = outputs.end_logits.argmax()
predict_answer_tokens = inputs.input_ids[0, answer_start_index : answer_end_index + 1]
answer = tokenizer.decode(predict_answer_tokens, skip_special_tokens=True)

target_start_index = torch.tensor([14])
target_end_index = torch.tensor([15])
outputs = model(**inputs, start_positions=target_start_index, end_positions=target_end_index)
loss = outputs.loss
""",
        "tf": """
import tensorflow as tf
from albert_tf import AutoTokenizer, TFAlbertForQuestionAnswering

tokenizer = AutoTokenizer.from_pretrained("example/albert-answers")
model = TFAlbertForQuestionAnswering.from_pretrained("example/albert-answers")

question, text = "Who was Jim Henson?", "Jim Henson was a nice puppet"
inputs = tokenizer(question, text, return_tensors="tf")
outputs = model(**inputs)
start_scores, end_scores = outputs.start_logits, outputs.end_logits

answer_start_index = int(tf.math.argmax(outputs.start_logits, axis=-1)[0])
answer_end_index = int(tf.math.argmax(outputs.end_logits, axis=-1)[0])
predict_answer_tokens = inputs.input_ids[0, answer_start_index : answer_end_index + 1]
answer = tokenizer.decode(predict_answer_tokens, skip_special_tokens=True)

target_start_index = tf.constant([14])
target_end_index = tf.constant([15])
outputs = model(**inputs, start_positions=target_start_index, end_positions=target_end_index)
loss = tf.math.reduce_mean(outputs.loss)
""",
        "flax": """
import jax.numpy as jnp
from albert_flax import AutoTokenizer, FlaxAlbertForQuestionAnswering

tokenizer = AutoTokenizer.from_pretrained("example/albert-answers")
model = FlaxAlbertForQuestionAnswering.from_pretrained("example/albert-answers")

question, text = "Who was Jim Henson?", "Jim Henson was a nice puppet"
inputs = tokenizer(question, text, return_tensors="jax")
outputs = model(**inputs)
start_scores = outputs.start_logits
end_scores = outputs.end_logits

answer_tokens = inputs.input_ids[0, start_scores.argmax() : end_scores.argmax() + 1]
answer = tokenizer.decode(answer_tokens, skip_special_tokens=True)

loss = model(**inputs, start_positions=jnp.array([14]), end_positions=jnp.array([15])).loss
""",
    },
}

LOADED = {
    "torch": """
import torch
from albert_torch import AutoModelForMaskedLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("albert/albert-base-v2")
model = AutoModelForMaskedLM.from_pretrained(
    "albert/albert-base-v2", {dtype}=torch.float16, attn_implementation="sdpa", device_map="auto"
)

prompt = "Plants create [MASK] through a process known as photosynthesis."
inputs = tokenizer(prompt, return_tensors="pt").to(model.device)
with torch.no_grad():
    outputs = model(**inputs)
    mask_token_index = torch.where(inputs["input_ids"] == tokenizer.mask_token_id)[1]
    predictions = outputs.logits[0, mask_token_index]

top_k = torch.topk(predictions, k=5).indices.tolist()
words = [tokenizer.decode([token_id]) for token_id in top_k[0]]
""",
    "tf": """
import tensorflow as tf
from albert_tf import AutoTokenizer, TFAutoModelForMaskedLM

tokenizer = AutoTokenizer.from_pretrained("albert/albert-base-v2")
model = TFAutoModelForMaskedLM.from_pretrained(
    "albert/albert-base-v2", {dtype}=tf.float16, attn_implementation="sdpa", device_map="auto"
)

prompt = "Plants create [MASK] through a process known as photosynthesis."
inputs = tokenizer(prompt, return_tensors="tf")
outputs = model(**inputs)
mask_token_index = tf.where(inputs["input_ids"] == tokenizer.mask_token_id)[:, 1]
predictions = tf.gather(outputs.logits[0], mask_token_index)

top_k = tf.math.top_k(predictions, k=5).indices.numpy().tolist()
words = [tokenizer.decode([token_id]) for token_id in top_k[0]]
""",
    "flax": """
import jax
import jax.numpy as jnp
from albert_flax import AutoTokenizer, FlaxAutoModelForMaskedLM

tokenizer = AutoTokenizer.from_pretrained("albert/albert-base-v2")
model = FlaxAutoModelForMaskedLM.from_pretrained(
    "albert/albert-base-v2", {dtype}=jnp.float16, attn_implementation="sdpa", device_map="auto"
)

prompt = "Plants create [MASK] through a process known as photosynthesis."
inputs = tokenizer(prompt, return_tensors="np")
outputs = model(**inputs)
mask_token_index = jnp.where(inputs["input_ids"] == tokenizer.mask_token_id)[1]
predictions = outputs.logits[0, mask_token_index]

top_k = jax.lax.top_k(predictions, 5)[1].tolist()
words = [tokenizer.decode([token_id]) for token_id in top_k[0]]
""",
}

PIPELINES = {
    "torch": """
import torch
from albert_torch import pipeline

task = pipeline("fill-mask", model="albert-base-v2", torch_dtype=torch.float16, device="cpu")
filled = task("Plants create [MASK] through a process known as photosynthesis.", top_k=5)
""",
    "tf": """
from albert_tf import pipeline

task = pipeline("fill-mask", model="albert-base-v2", device="cpu")
filled = task("Plants create [MASK] through a process known as photosynthesis.", top_k=5)
""",
    "flax": """
from albert_flax import pipeline

task = pipeline(task="fill-mask", model="albert-base-v2")
filled = task("Plants create [MASK] through a process known as photosynthesis.", top_k=5)
""",
}

# One text for every dialect: {package} and {prefix} are filled in.
CPU_BY_NUMBER = """
from {package} import pipeline

task = pipeline("fill-mask", model="albert-base-v2", device=-1)
filled = task("Plants create [MASK] through a process known as photosynthesis.", top_k=5)
"""
CONFIGURATION = """
from {package} import {prefix}AlbertModel, AlbertConfig

albert_xxlarge_configuration = AlbertConfig()
albert_base_configuration = AlbertConfig(hidden_size=768, num_attention_heads=12, intermediate_size=3072)
model = {prefix}AlbertModel(albert_base_configuration)
configuration = model.config
"""
AUTO = """
from {package} import AutoConfig, {auto}

model = {auto}.from_pretrained("{model}")
config = AutoConfig.from_pretrained("{model}", hidden_dropout_prob=0.25)
fresh = {auto}.from_config(config)
"""
FRESH = """
from {package} import {prefix}AutoModelForMaskedLM, AutoConfig

config = AutoConfig.from_pretrained("albert/albert-base-v2")
model = {prefix}AutoModelForMaskedLM.from_config(config, {dtype}="float16", attn_implementation="eager")
"""
