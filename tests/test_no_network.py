"""Nothing here talks to a network: not importing, not registering, not a single action."""

import subprocess
import sys

import pytest

# Python tells its audit hooks of all that it asks of a socket, also from within C. A socket by
# itself reaches nothing: urllib3, which QIIME 2 brings, makes one when it is imported and binds it
# to this machine's own address, to see whether there is IPv6; and the lock of QIIME 2's cache asks
# for this machine's own full name.
FORBID = """
import socket, sys

NETWORK = {"socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo",
           "socket.gethostbyname", "socket.getnameinfo", "urllib.Request",
           "http.client.connect", "ftplib.connect"}
OWN = {"socket.bind": lambda socket_, address: address == ("::1", 0),
       "socket.gethostbyaddr": lambda name: name == socket.gethostname()}

def forbid(event, arguments):
    if event in NETWORK or (event in OWN and not OWN[event](*arguments)):
        sys.stderr.write(f"network: {event} {arguments}\\n")
        raise SystemExit(77)

sys.addaudithook(forbid)
"""
DATA = """
import tempfile
from pathlib import Path
from q2_aam.core import api
from q2_aam.core.artifact import storage
from q2_aam.core.data.simulate import SimulationConfig, simulate

folder = Path(tempfile.mkdtemp())
data = simulate(SimulationConfig(n_samples=24, n_features=40, n_bp=40, depth=200, seed=1))
tree = folder / "tree.nwk"
tree.write_text(data.newick)
options = dict(embedding_dim=8, attention_heads=2, attention_layers=1, epochs=1,
               rarefy_depth=100, device="cpu", monitor=api.Monitor(folder / "runs"))
"""
ACTIONS = {
    "the-core": """
encoder = api.pretrain(data.table, tree, **options)
regressor = api.train_regressor(data.table, data.metadata["age"], encoder=encoder, **options)
classifier = api.train_classifier(data.table, data.metadata["site"], phylogeny=tree, **options)
storage.save(regressor, folder / "model")
api.predict_regression(data.table, storage.load(folder / "model"))
api.predict_classification(data.table, classifier)
""",
    "the-actions-of-qiime2": """
import qiime2
from q2_types.tree import NewickFormat
from qiime2.plugins import aam

options.pop("monitor")
load, called = qiime2.Artifact.import_data, set()

class Calls:  # of actions, whose names are kept
    def __init__(self, actions):
        self.actions = actions

    def __getattr__(self, name):
        called.add(name)
        return getattr(self.actions, name)

m, v, p = Calls(aam.methods), Calls(aam.visualizers), Calls(aam.pipelines)
table = load("FeatureTable[Frequency]", data.table)
phylogeny = load("Phylogeny[Rooted]", str(tree), NewickFormat)
metadata = qiime2.Metadata(data.metadata)
age, site = metadata.get_column("age"), metadata.get_column("site")
encoder, = m.pretrain(table, phylogeny, **options)
regressor, = m.train_regressor(table, age, encoder, loss_type="quantile", **options)
classifier, = m.train_classifier(table, site, encoder, **options)
ages, = m.predict_regression(table, regressor)
intervals, = m.predict_intervals(table, regressor)
sites, probabilities = m.predict_classification(table, classifier)
m.score_regression(ages, age)
m.score_classification(sites, probabilities, site)
m.tabulate_regression(ages, age, models=[regressor], table=table)
m.tabulate_classification(sites, site, probabilities, models=[classifier])
m.merge_predictions([ages])
m.merge_probabilities([probabilities])
m.shipped_encoder()
m.extract_encoder(regressor)
m.combine_models([regressor, regressor])
m.known_reads(table, regressor)
embedded, _ = m.embed(table, encoder)
m.embeddings_table(embedded)
m.embed_features(encoder, table)
m.importance(table, regressor, max_features=5)
v.summarize_training([encoder, regressor])
v.evaluate_regression(ages, age, intervals=intervals)
v.evaluate_classification(sites, probabilities, site)
p.regress_samples(table, age, encoder, forest="yes", **options)
p.classify_samples(table, site, encoder, **options)
p.regress_columns(table, metadata, ["age"], encoder, **options)
m.score_columns([ages], metadata, ["age"])
v.evaluate_columns([ages], metadata, ["age"])
p.cross_validate_regression(table, age, encoder=encoder, n_folds=2, **options)
p.cross_validate_classification(table, site, encoder=encoder, n_folds=2, **options)
regressor.save(str(folder / "model.qza"))
missed = set(qiime2.sdk.PluginManager().plugins["aam"].actions) - called
assert not missed, f"not tried: {missed}"
""",
}


def run(program):
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)


@pytest.mark.parametrize(
    "program",
    [
        "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9')",
        "import socket; socket.create_connection(('127.0.0.1', 9))",
        "import socket; socket.getaddrinfo('localhost', 80)",
        "import socket; socket.gethostbyaddr('127.0.0.1')",
        "import socket; socket.socket().bind(('127.0.0.1', 0))",
        "import socket as s; s.socket(type=s.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))",
    ],
)
def test_the_watch_notices_a_network(program):
    done = run(FORBID + program)
    assert done.returncode == 77, done.stderr
    assert "network: " in done.stderr


@pytest.mark.parametrize(
    "program",
    [
        "import q2_aam.plugin_setup",
        "import q2_aam.core.api, q2_aam.core.artifact.storage",
        "import qiime2.sdk; qiime2.sdk.PluginManager()",
    ],
)
def test_imports_and_registration_use_no_network(program):
    done = run(FORBID + program)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ACTIONS)
def test_actions_use_no_network(name):
    done = run(FORBID + DATA + ACTIONS[name])
    assert done.returncode == 0, done.stderr
