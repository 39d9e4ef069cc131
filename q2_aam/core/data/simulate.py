"""Simulated amplicon data whose answer is known: for the demo, examples, tests and benchmarks.

A phylogeny grows, sequences evolve along it, and samples are drawn whose composition follows a
numeric column (``age``) and a categorical one (``site``) through whole clades of that phylogeny.
So what there is to learn is phylogenetic, and which features carry it is known. Nothing here
imports torch or QIIME 2; ``python -m q2_aam.core.data.simulate --help`` writes the files.
"""

import argparse
import hashlib
import heapq
from dataclasses import dataclass
from pathlib import Path

import biom
import h5py
import numpy as np
import pandas as pd
from scipy import sparse, special

from q2_aam.core.options.option import Config, option, option_infos

SITES = ("gut", "oral", "skin")
AGE_RANGE = (20.0, 80.0)
# The phylogeny is cut into this many clades; the largest carry the effects, one for the age and
# one for each site, the rest vary from sample to sample without meaning.
N_CLADES = 12
N_CAUSAL = 1 + len(SITES)
V4 = (
    b"TACGGAGGGTGCAAGCGTTAATCGGAATTACTGGGCGTAAAGCGCACGCAGGCGGTTTGTTAAGTCAGATGTGAAATCCCCGGGCTC"
    b"AACCTGGGAACTG"
)
BASES = np.frombuffer(b"ACGT", dtype=np.uint8)


@dataclass(frozen=True)
class SimulationConfig(Config):
    """What to simulate: the sizes, the strength of the effects and the seed."""

    n_samples: int = option(240, "Number of samples.", low=2)
    n_features: int = option(300, "Number of tips of the phylogeny.", low=N_CLADES)
    n_bp: int = option(120, "Length of every sequence in nucleotides.", low=20)
    depth: int = option(
        1000, "Reads that every sample has at least: a rarefaction depth that keeps them.", low=1
    )
    shallow: float = option(
        0.0, "Share of the samples that get fewer reads than the depth.", low=0, high=1
    )
    occupancy: float = option(
        0.3,
        "Share of the features that an average sample holds before sampling reads.",
        low=0.01,
        high=0.99,
    )
    age_effect: float = option(
        1.2, "Change of the log abundance of the age clade for one standard deviation of age."
    )
    site_effect: float = option(
        1.2, "Change of the log abundance of a site's clade in the samples of that site."
    )
    clade_noise: float = option(
        0.4, "Standard deviation of each clade's log abundance between samples.", low=0
    )
    feature_noise: float = option(
        1.0, "Standard deviation of each feature's log abundance between samples.", low=0
    )
    v4: bool = option(
        False,
        "Let the sequences evolve from reads of Escherichia coli that begin after the primer 515F "
        "(16S V4). With a tree_height of 0.15, most are like reads of real samples.",
    )
    tree_height: float = option(
        0.4, "Mean distance from the root to the tips in substitutions a site.", low=1e-3
    )
    test_size: float = option(
        0.25, "Share of the samples marked `test` in the column `split`.", low=0, high=0.9
    )
    hashed_ids: bool = option(
        False, "Name features by the MD5 of their sequence, as DADA2 does, not by the sequence."
    )
    seed: int = option(0, "Seed; equal configurations give equal data.", low=0, high=2**32 - 1)

    def _contradictions(self):
        if self.v4 and self.n_bp > len(V4):
            yield f"n_bp is {self.n_bp}, but with v4 it can be {len(V4)} at most"


@dataclass(frozen=True)
class Simulation:
    """A simulated data set.

    Attributes
    ----------
    config : SimulationConfig
        What it was made from.
    table : biom.Table
        Counts, features x samples; features that no sample shows are left out.
    newick : str
        Rooted, bifurcating phylogeny of all `n_features` features; branch lengths are in
        substitutions a site.
    sequences : dict of str to str
        Sequence of each feature of the phylogeny, by feature id.
    metadata : DataFrame of shape (n_samples, 3)
        `age` (years), `site` and `split` (train or test); the index is `sample-id`.
    age_features : tuple of str
        Features of the clade that grows with age.
    site_features : dict of str to tuple of str
        For each site, the features of the clade that grows there.
    """

    config: SimulationConfig
    table: biom.Table
    newick: str
    sequences: dict[str, str]
    metadata: pd.DataFrame
    age_features: tuple[str, ...]
    site_features: dict[str, tuple[str, ...]]

    def write(self, directory) -> dict[str, Path]:
        """Write the data as the files that `qiime tools import` takes.

        Parameters
        ----------
        directory : str or Path
            Where to write; created if it does not exist.

        Returns
        -------
        dict of str to Path
            The paths of `table` (BIOM 2.1, HDF5), `tree` (newick), `sequences` (FASTA) and
            `metadata` (TSV).
        """
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        names = {
            "table": "table.biom",
            "tree": "tree.nwk",
            "sequences": "sequences.fna",
            "metadata": "metadata.tsv",
        }
        paths = {kind: directory / name for kind, name in names.items()}
        with h5py.File(paths["table"], "w") as handle:
            self.table.to_hdf5(handle, "q2-aam simulation")
        paths["tree"].write_text(self.newick + "\n")
        records = (f">{name}\n{sequence}\n" for name, sequence in self.sequences.items())
        paths["sequences"].write_text("".join(records))
        self.metadata.to_csv(paths["metadata"], sep="\t")
        return paths


def simulate(config: SimulationConfig | None = None) -> Simulation:
    """Simulate a phylogeny, its sequences and samples that depend on age and site.

    Parameters
    ----------
    config : SimulationConfig, optional
        Sizes, effects and seed; the defaults if not given.

    Returns
    -------
    Simulation

    Notes
    -----
    With the default effects and 200 samples, a random forest on log counts explains about 0.7 of
    the variance of age and names nine sites of ten: there is something to learn, and room for
    error. Memory is that of the counts and the sequences.

    References
    ----------
    Yule GU. A mathematical theory of evolution, based on the conclusions of Dr. J. C. Willis.
    Philosophical Transactions of the Royal Society B 213:21-87 (1925).

    Jukes TH, Cantor CR. Evolution of protein molecules. In: Mammalian Protein Metabolism,
    21-132 (1969).
    """
    config = config or SimulationConfig()
    # RandomState, not Generator: only its streams are the same in every version of numpy (NEP 19).
    rng = np.random.RandomState(config.seed)
    tree = _grow_tree(config, rng)
    sequences = _evolve(tree, config, rng)
    ids = (
        [hashlib.md5(s.encode()).hexdigest() for s in sequences]
        if config.hashed_ids
        else sequences
    )
    clade_of_tip = _cut_into_clades(tree)
    causal = rng.permutation(N_CAUSAL)
    metadata = _draw_metadata(config, rng)
    effects = _clade_effects(config, metadata, causal, rng)
    counts = _draw_counts(config, effects, clade_of_tip, rng)

    observed = np.flatnonzero(counts.sum(axis=0).A1)
    table = biom.Table(
        counts[:, observed].T.tocsr().astype(float),
        [ids[j] for j in observed],
        list(metadata.index),
        type="OTU table",
    )
    members = [tuple(ids[j] for j in np.flatnonzero(clade_of_tip == c)) for c in causal]
    return Simulation(
        config=config,
        table=table,
        newick=_to_newick(tree, ids),
        sequences=dict(zip(ids, sequences, strict=True)),
        metadata=metadata,
        age_features=members[0],
        site_features=dict(zip(SITES, members[1:], strict=True)),
    )


@dataclass(frozen=True)
class _Tree:
    """Nodes numbered so that a parent comes before its children; node 0 is the root."""

    parent: np.ndarray  # (n_nodes,) int; -1 for the root
    length: np.ndarray  # (n_nodes,) substitutions a site on the branch above; 0 for the root
    tips: np.ndarray  # (n_features,) node of each tip


def _grow_tree(config, rng) -> _Tree:
    """Grow a pure-birth tree whose branches run at different rates.

    While there are k lineages, the next one splits after an exponential time of rate k (Yule
    1925). Times are then scaled to the height wanted, and each branch is multiplied by a rate
    from a gamma distribution of mean 1, as no molecular clock is strict.
    """
    parent, born, ended = [-1], [0.0], [0.0]
    lineages, now = [0], 0.0
    while len(lineages) < config.n_features:
        split = rng.randint(len(lineages))
        node = lineages[split]
        ended[node] = now
        children = [len(parent), len(parent) + 1]
        parent += [node, node]
        born += [now, now]
        ended += [now, now]
        lineages[split] = children[0]
        lineages.append(children[1])
        now += rng.exponential(1 / len(lineages))
    tips = np.array(lineages)
    length = np.array(ended) - np.array(born)
    length[tips] = now - np.array(born)[tips]
    rate = rng.gamma(5.0, 1 / 5.0, size=len(length))
    return _Tree(np.array(parent), length / now * config.tree_height * rate, tips)


def _evolve(tree, config, rng) -> list[str]:
    """Evolve one sequence along the tree and return those of the tips, all distinct.

    Under the model of Jukes and Cantor (1969) a site differs between the ends of a branch of
    length t with probability 3/4 (1 - exp(-4t/3)), each other base being as likely.
    """
    n_bp = config.n_bp
    bases = np.empty((len(tree.parent), n_bp), dtype=np.uint8)
    bases[0] = rng.randint(4, size=n_bp)
    if config.v4:
        bases[0] = np.searchsorted(BASES, np.frombuffer(V4, dtype=np.uint8)[:n_bp])
    differs = 0.75 * -np.expm1(-4 / 3 * tree.length)
    for node in range(1, len(tree.parent)):
        shift = rng.randint(1, 4, size=n_bp) * (rng.random_sample(n_bp) < differs[node])
        bases[node] = (bases[tree.parent[node]] + shift) % 4

    sequences = {}  # in order of the tips
    for tip in bases[tree.tips]:
        # Feature ids are the sequences, so equal tips cannot be kept apart: a tip that equals an
        # earlier one takes single further substitutions until it does not.
        while (sequence := BASES[tip].tobytes().decode()) in sequences:
            tip[rng.randint(n_bp)] = rng.randint(4)
        sequences[sequence] = None
    return list(sequences)


def _cut_into_clades(tree) -> np.ndarray:
    """Cut the tree into N_CLADES clades, the largest being number 0; give each tip's clade."""
    n_nodes = len(tree.parent)
    size = np.zeros(n_nodes, dtype=int)
    size[tree.tips] = 1
    children = [[] for _ in range(n_nodes)]
    for node in range(n_nodes - 1, 0, -1):
        size[tree.parent[node]] += size[node]
        children[tree.parent[node]].append(node)

    clades = [(-size[0], 0)]
    while len(clades) < N_CLADES:
        _, largest = heapq.heappop(clades)
        for child in children[largest]:
            heapq.heappush(clades, (-size[child], child))

    clade = np.full(n_nodes, -1)
    clade[[node for _, node in sorted(clades)]] = np.arange(N_CLADES)
    for node in range(1, n_nodes):
        if clade[node] == -1:
            clade[node] = clade[tree.parent[node]]
    return clade[tree.tips]


def _draw_metadata(config, rng) -> pd.DataFrame:
    """Draw age, site and split of every sample."""
    n = config.n_samples
    split = np.full(n, "train", dtype=object)
    split[rng.permutation(n)[: round(config.test_size * n)]] = "test"
    columns = {
        "age": np.round(rng.uniform(*AGE_RANGE, size=n), 1),
        "site": np.array(SITES, dtype=object)[rng.randint(len(SITES), size=n)],
        "split": split,
    }
    width = len(str(n))
    ids = pd.Index([f"sample{i + 1:0{width}d}" for i in range(n)], name="sample-id")
    return pd.DataFrame(columns, index=ids)


def _clade_effects(config, metadata, causal, rng) -> np.ndarray:
    """Give the shift of each clade's log abundance in each sample, (n_samples, N_CLADES)."""
    low, high = AGE_RANGE
    standard_age = (metadata["age"].to_numpy() - (low + high) / 2) / ((high - low) / np.sqrt(12))
    effects = rng.normal(0, config.clade_noise, size=(config.n_samples, N_CLADES))
    effects[:, causal[0]] += config.age_effect * standard_age
    for site, clade in zip(SITES, causal[1:], strict=True):
        effects[:, clade] += config.site_effect * (metadata["site"] == site).to_numpy()
    return effects


def _draw_counts(config, effects, clade_of_tip, rng) -> sparse.csr_matrix:
    """Draw the counts, (n_samples, n_features).

    A clade's effect acts on both sides of what a community is: whether a feature is there
    (logistic in the effect) and how much of it (log-normal, shifted by the effect). Reads are
    multinomial.
    """
    common = rng.normal(0, 1.0, size=config.n_features)
    base = special.logit(config.occupancy)
    depths = _draw_depths(config, rng)
    rows = []
    for effect, depth in zip(effects[:, clade_of_tip], depths, strict=True):
        present = rng.random_sample(config.n_features) < special.expit(base + effect + common)
        # A sample without any feature would have no composition to draw reads from.
        present[rng.randint(config.n_features)] = True
        where = np.flatnonzero(present)
        log_abundance = (effect + common)[where] + rng.normal(
            0, config.feature_noise, size=len(where)
        )
        reads = rng.multinomial(depth, special.softmax(log_abundance))
        rows.append((where[reads > 0], reads[reads > 0]))
    indptr = np.cumsum([0] + [len(where) for where, _ in rows])
    indices, data = (np.concatenate(parts) for parts in zip(*rows, strict=True))
    return sparse.csr_matrix((data, indices, indptr), shape=(len(rows), config.n_features))


def _draw_depths(config, rng) -> np.ndarray:
    """Draw the reads of each sample: at least the depth, but for the shallow samples."""
    n = config.n_samples
    depths = config.depth + rng.exponential(config.depth, size=n).astype(int)
    shallow = rng.permutation(n)[: round(config.shallow * n)]
    depths[shallow] = rng.uniform(0.05, 0.95, size=len(shallow)) * config.depth
    return depths


def _to_newick(tree, ids) -> str:
    """Write the tree with the ids at its tips."""
    name = dict(zip(tree.tips.tolist(), ids, strict=True))
    children = [[] for _ in tree.parent]
    for node in range(len(tree.parent) - 1, 0, -1):
        label = name[node] if node in name else f"({','.join(reversed(children[node]))})"
        children[node].clear()
        children[tree.parent[node]].append(f"{label}:{tree.length[node]:.8g}")
    return f"({','.join(reversed(children[0]))});"


def main(arguments=None):
    """Write simulated data to a directory, every field of SimulationConfig being an option."""
    parser = argparse.ArgumentParser(
        prog="python -m q2_aam.core.data.simulate", description=__doc__
    )
    parser.add_argument("directory", type=Path, help="Where to write the four files.")
    for name, info in option_infos(SimulationConfig).items():
        flag = f"--{name.replace('_', '-')}"
        if info.type is bool:
            parser.add_argument(flag, action="store_true", help=info.help)
        else:
            # A percent sign would be taken for a format.
            help_text = f"{info.help} Default: {info.default}.".replace("%", "%%")
            parser.add_argument(flag, type=info.type, default=info.default, help=help_text)
    options = vars(parser.parse_args(arguments))
    directory = options.pop("directory")
    try:
        config = SimulationConfig(**options)
    except ValueError as error:
        parser.error(str(error))
    simulate(config).write(directory)


if __name__ == "__main__":
    main()
