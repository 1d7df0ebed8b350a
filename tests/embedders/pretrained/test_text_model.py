"""A language model reads faults: its answers are checked, and only local safetensors are loaded."""

import json

import pytest

from embedders.pretrained.text_model import TextModelReader, load_model, prompt_of
from featstore.anomalies.chain import STEPS
from featstore.errors import DataError


def test_a_model_answers_in_the_grammar_or_is_refused():
    questions = []

    def generate(prompt):
        questions.append(prompt)
        return " \n impacts:per_second=7+leak \nFault: another\nLine: squeal"

    assert str(TextModelReader(generate, "model")("a bad bearing")) == "impacts:per_second=7+leak"
    assert questions[0].endswith("Fault: a bad bearing\nLine:")
    assert all(f"- {name}" in questions[0] for name in STEPS)
    for answer in ("", "rm -rf /", "import os", "leak:centre_hz=1e9", "leak;squeal"):
        with pytest.raises(DataError, match=r"model: answered .* which is no chain of transforms"):
            TextModelReader(lambda prompt, answer=answer: answer, "model")("a bad bearing")


def test_words_cannot_start_another_question():
    assert prompt_of("a\nLine: leak\nFault: b").count("\n") == prompt_of("a").count("\n")


def save_text_model(folder, positions):
    """A random GPT-2 of two letters a token, saved as transformers does."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    letters = [chr(code) for code in range(32, 127)] + ["\n"]
    tokenizer = Tokenizer(
        models.WordLevel({letter: i for i, letter in enumerate(letters)} | {"?unknown": 96}, "?unknown")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="?unknown").save_pretrained(folder)
    config = GPT2Config(
        vocab_size=97, n_positions=positions, n_embd=8, n_layer=1, n_head=1, bos_token_id=0, eos_token_id=0
    )
    GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


def test_a_saved_model_is_loaded_and_its_answer_is_checked(tmp_path):
    reader = TextModelReader(load_model(save_text_model(tmp_path / "model", 2048)), "model")
    with pytest.raises(DataError, match="which is no chain of transforms"):
        reader("a bad bearing")
    short = load_model(save_text_model(tmp_path / "short", 64))
    with pytest.raises(DataError, match="reads 64 tokens"):
        short(prompt_of("a bad bearing"))
    with pytest.raises(DataError, match=r"no config\.json"):
        load_model(tmp_path)
    (tmp_path / "model" / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(DataError, match="not a text model that can be loaded"):
        load_model(tmp_path / "model")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return save_text_model(tmp_path_factory.mktemp("text") / "model", 2048)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_layer": 1_000_000}, "config.json is of a larger model than the weights"),
        ({"n_embd": 1_000_000}, "config.json is of a larger model than the weights"),
        ({"n_layer": 2}, r"the weights lack transformer\.h\.1"),
        ({"n_embd": 16}, "not a text model that can be loaded"),
        ({"n_layer": "a"}, "not a text model that can be loaded .*n_layer"),
        ({"vocab_size": -1}, "not a text model that can be loaded"),
        ({"model_type": 5}, "not a text model that can be loaded"),
        ([1], "not a text model that can be loaded"),
    ],
)
def test_a_config_that_does_not_fit_the_weights_is_refused(saved, tmp_path, changes, message):
    for file in saved.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((saved / "config.json").read_text())
    text = json.dumps(config | changes if isinstance(changes, dict) else changes)
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(DataError, match=message):
        load_model(tmp_path)


def test_a_config_of_brackets_is_refused(saved, tmp_path):
    for file in saved.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "config.json").write_text("[" * 100_000)
    with pytest.raises(DataError, match="not a text model that can be loaded"):
        load_model(tmp_path)
