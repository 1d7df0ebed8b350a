"""Published systems: each names existing components, its commands are right, and mistakes in a file are named."""

import re
import shlex
import tomllib

import numpy as np
import pytest
from click.testing import CliRunner
from small_models import save_named_models

from detectors import create as create_detector
from detectors import parse_detector
from embedders import create, parse_embedder
from embedders.losses.table import make_loss
from embedders.training.request import parse_setup
from ensemble.cli import main
from ensemble.systems.catalogue import find_system, names, system_text
from ensemble.systems.lines import command_lines
from ensemble.systems.reading import read_system
from ensemble.systems.system import FOLDER
from featstore.errors import DataError

SMALL = """
title = "t"
embedder = "tdnn"
output = "posterior"
detector = "posterior"
[network]
channels = ["logmel", "tgram"]
width = 16
[training]
epochs = 3
[loss]
name = "arcface"
m = 0.5
[pretrain]
epochs = 2
loss = { name = "supcon", temperature = 0.2 }
[published]
year = 2022
figure = "f"
source = "s"
"""


def written(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", names())
def test_included_systems_state_what_was_published(name):
    system = find_system(name)
    assert re.fullmatch(r"[a-z][a-z0-9_]*", name)
    assert len(system.title) > 20, "a title says what trains and what scores"
    assert all((system.detector, system.published.figure, system.published.source))
    assert not system.title.endswith(".")
    assert not system.trained or system.settings.get("epochs"), "a training states its length"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return save_named_models(tmp_path_factory.mktemp("models"))


@pytest.mark.parametrize("name", names())
def test_included_systems_name_existing_components(name, models, monkeypatch):
    monkeypatch.setenv("FEATSTORE_MODELS", str(models))
    system = find_system(name)
    parse_detector(system.detector)
    settings = tuple(f"{key}={text}" for key, text in system.settings.items())
    if system.trained:
        setup = parse_setup(system.embedder, settings)
        kind = setup.kind
        assert system.output in kind.objective_type.outputs
        assert system.view in (kind.objective_type.views or ("",))
    else:
        spec = next(line for line in command_lines(system) if line[1] == "build")[5]
        assert parse_embedder(spec)[0] == system.embedder
        assert not system.view or system.view in create(spec).views
    assert system.differs[-1:] != "."
    assert 2019 < system.published.year < 2027


@pytest.mark.parametrize("name", names())
def test_included_files_are_read_completely(name):
    raw = tomllib.loads((FOLDER / f"{name}.toml").read_text())
    system = find_system(name)
    texts = {key: raw[key] for key in raw if isinstance(raw[key], str)}
    assert {key: getattr(system, key) for key in texts} == texts
    counts = [len(raw.get(table, {})) for table in ("network", "training", "loss", "pretrain")]
    nested = len(raw.get("pretrain", {}).get("loss", {}))
    assert len(system.settings) == (sum(counts) + max(0, nested - 1) if system.trained else 0)


def test_commands_by_hand(tmp_path):
    system = read_system(written(tmp_path, SMALL))
    lines = [shlex.join(line) for line in command_lines(system, settings=("epochs=1", "batch=2"))]
    assert lines == [
        "featstore train tdnn DATA -o mine.safetensors --set 'channels=logmel;tgram' --set width=16 --set epochs=1 "
        "--set loss=arcface --set loss.m=0.5 --set pretrain.epochs=2 --set pretrain.loss=supcon "
        "--set pretrain.loss.temperature=0.2 --set batch=2",
        "featstore build DATA STORE -e tdnn:checkpoint=mine.safetensors,output=posterior --as mine",
        "detect run STORE -d posterior -e mine",
    ]
    setup = parse_setup("tdnn", tuple(f"{key}={text}" for key, text in system.settings.items()))
    assert (setup.train.epochs, setup.loss, setup.network["width"]) == (3, {"m": 0.5}, 16)
    assert (setup.pretrain.train.epochs, setup.pretrain.loss) == (2, {"temperature": 0.2})


def test_a_system_that_chooses_its_detector_does_so_for_each_machine(tmp_path):
    system = find_system("gen_twfr_gmm")
    lines = command_lines(system, store="folder/store", machines=("fan", "pump"), settings=("r=0;1",))
    assert shlex.join(lines[0]) == (
        "featstore build DATA folder/store -e 'twfr:r=0;1' --as gen_twfr_gmm --anomalies auto"
    )
    assert [line[:2] for line in lines[1:]] == [["detect", "select"], ["detect", "run"]] * 2
    assert "--strategy=best single" in lines[1]
    for line, machine in ((lines[1], "fan"), (lines[2], "fan"), (lines[3], "pump"), (lines[4], "pump")):
        assert line[line.index("--machine") + 1] == machine
        assert f"folder/gen_twfr_gmm.{machine}.toml" in line
    assert "--described-faults" in command_lines(find_system("mimii_agent"))[0]


def test_a_translator_is_trained_on_confirmed_faults_before_the_build(tmp_path):
    training, building, *_ = command_lines(
        find_system("stargan_aug"),
        checkpoint="runs/a.safetensors",
        faults="marks.csv",
        settings=("stats=mean", "translator.epochs=3"),
    )
    assert shlex.join(training) == (
        "featstore train stargan DATA -o runs/stargan_aug.stargan.safetensors --set faults=marks.csv --set epochs=3 "
        "--set batch=16 --set learning_rate=0.0005 --set beta1=0.5"
    )
    assert shlex.join(building) == (
        "featstore build DATA STORE -e logmel:stats=mean --as stargan_aug "
        "--translated-faults runs/stargan_aug.stargan.safetensors --anomalies auto"
    )
    settings = tuple(word for word in training if "=" in word)
    assert parse_setup("stargan", settings).train.faults == "marks.csv"


@pytest.mark.parametrize("table", ["[translator]\nepochs = 3\n[select]", '[translator]\nname = "stargan"'])
def test_a_translator_needs_a_name_and_a_choice(tmp_path, table):
    with pytest.raises(DataError, match=r"mine\.toml: \[translator\] needs name = a network, and a \[select\]"):
        read_system(written(tmp_path, SMALL.replace("[published]", f"{table}\n[published]")))


@pytest.mark.parametrize(
    "line",
    ['grid = "none.toml"', "grid = 3", 'gird = "twfr_gmm.toml"', 'faults = "/etc/hosts"', 'grid = "../ae.toml"'],
)
def test_a_mistake_in_how_the_detector_is_chosen_is_named(tmp_path, line):
    text = SMALL.replace("[published]", f"[select]\n{line}\n[published]")
    with pytest.raises(DataError, match=r"mine\.toml: .*select"):
        read_system(written(tmp_path, text))


def test_the_channel_of_a_system_is_trained_on_and_built():
    training, building, _ = command_lines(find_system("na_beats"))
    assert training[-2:] == ["--set", "channel=0,1"]
    assert building[-2:] == ["--channel", "0,1"]
    training, building, _ = command_lines(find_system("na_beats"), settings=("channel=1,0",))
    assert (training[-1], building[-1]) == ("channel=1,0", "1,0")
    assert "--channel" not in command_lines(find_system("anopatch"))[1]


def test_the_projector_of_the_pre_training_is_used_in_the_fine_tuning():
    settings = find_system("clp_scf").settings
    setup = parse_setup("stgram", tuple(f"{key}={text}" for key, text in settings.items()))
    heads = [make_loss(stage.train.loss, 3, 8, **stage.loss).state_dict() for stage in setup.stages]
    carried = {name for name in heads[0] if name.startswith("head.")}
    assert carried
    assert carried == {name for name in heads[1] if name.startswith("head.")}


def test_groups_reach_the_detector_of_a_system():
    assert command_lines(find_system("hmic_agc"))[-1][-2:] == ["--group-by", "attributes"]


def test_the_channel_reaches_training_and_build(tmp_path):
    system = read_system(written(tmp_path, 'channel = "0-1"\n' + SMALL))
    training, building, scoring = command_lines(system)
    assert training[-2:] == ["--set", "channel=0-1"]
    assert building[-2:] == ["--channel", "0-1"]
    assert "--channel" not in scoring
    assert parse_setup("tdnn", tuple(training[i + 1] for i, word in enumerate(training) if word == "--set"))
    training, building, _ = command_lines(system, settings=("channel=1",))
    assert training.count("channel=1") == 1
    assert "channel=0-1" not in training
    assert building[-2:] == ["--channel", "1"]
    plain = command_lines(read_system(written(tmp_path, SMALL.replace("[training]", '[training]\nchannel = "1"'))))
    assert plain[1][-2:] == ["--channel", "1"], "as a setting of the training"
    without = command_lines(read_system(written(tmp_path, SMALL)))
    assert not any(word.startswith(("channel=", "--channel")) for line in without for word in line)


def test_the_channel_of_a_system_without_training():
    lines = [shlex.join(line) for line in command_lines(find_system("w1_beats"))]
    assert lines == [
        "featstore build DATA STORE -e beats:checkpoint=BEATs_iter3.pt,pool=rdp:gamma=4 --as w1_beats --channel 0-1",
        "detect run STORE -d knn:bands=8,varmin=4 -e w1_beats",
    ]


def test_a_system_without_training_has_no_training_command():
    lines = [shlex.join(line) for line in command_lines(find_system("twfr_gmm"))]
    assert lines == [
        "featstore build DATA STORE -e twfr:r=0.98 --as twfr_gmm",
        "detect run STORE -d gmm:n_components=2 -e twfr_gmm",
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("detector =", "detektor =", "unknown key 'detektor'; did you mean detector"),
        ('embedder = "tdnn"', "", "lacks 'embedder'"),
        ('title = "t"', "title = 3", "title = 3, expected text"),
        ('title = "t"', 'title = "t"\nchannel = 1', "channel = 1, expected text"),
        ("year = 2022", 'year = "2022"', "needs year = a whole number, got '2022'"),
        ("year = 2022", "yeer = 2022", "unknown key 'yeer'; did you mean year"),
        ("[training]", "[trainings]", "unknown key 'trainings'; did you mean training"),
        ("[training]\nepochs = 3", "", r"need a \[training\] table; add one"),
        ("width = 16", "width = {}", "network.width = {}, expected"),
        ('name = "arcface"', "", "a loss table lacks 'name'"),
        ("[network]", "[network", "not a readable system"),
    ],
)
def test_mistakes_are_named(tmp_path, old, new, message):
    assert old in SMALL
    with pytest.raises(DataError, match=message) as caught:
        read_system(written(tmp_path, SMALL.replace(old, new)))
    assert "mine.toml" in str(caught.value)


def test_the_command_lists_and_shows(tmp_path):
    listed = CliRunner().invoke(main, ["recipes"])
    assert listed.exit_code == 0, listed.output
    assert all(name in listed.output for name in names())
    shown = CliRunner().invoke(main, ["recipes", "stgram_mfn"]).output
    assert "featstore train stgram DATA -o stgram_mfn.safetensors" in shown
    assert "92.36" in shown
    assert shown.strip() == system_text(find_system("stgram_mfn")).strip()
    assert "featstore train tdnn" in CliRunner().invoke(main, ["recipes", str(written(tmp_path, SMALL))]).output
    wrong = CliRunner().invoke(main, ["recipes", "stgram_mnf"])
    assert wrong.exit_code == 1
    assert "'stgram_mnf' is neither a published system nor a file; did you mean stgram_mfn?" in wrong.output


def test_a_transformed_clip_counts_as_anomalous_even_with_a_single_section():
    own = np.log([[0.9], [0.8], [0.1]])  # one section; the rest of the probability is that of the other transforms
    detector = create_detector(find_system("atac").detector).fit(own[:2])
    np.testing.assert_allclose(detector.anomaly_score(own), -own[:, 0])


@pytest.mark.parametrize("text", [f"title = {'9' * 5000}", f"a = {'[' * 100_000}"])
def test_a_hostile_file_is_no_readable_system(tmp_path, text):
    with pytest.raises(DataError, match="not a readable system"):
        read_system(written(tmp_path, text))
