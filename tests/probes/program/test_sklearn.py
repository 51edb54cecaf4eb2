"""Steps of programs that train with scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest

from fixtures.environments import frameworks
from probes.device_digest import digests_numpy
from tests.probes.program.conftest import Program

pytestmark = pytest.mark.torch

TEXT = """
import numpy, warnings
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

warnings.simplefilter("ignore")
random = numpy.random.RandomState(0)
X = random.normal(size=(60, 4))
y = (X.sum(1) > 0).astype(int)
network = MLPClassifier((5,), max_iter=4, random_state=1).fit(X, y)                     # step 0
said = network.predict(X)                                                               # 1
sgd = SGDClassifier(random_state=2)
for at in range(0, 60, 20):
    sgd.partial_fit(X[at : at + 20], y[at : at + 20], classes=[0, 1])                   # 2 3 4
make_pipeline(StandardScaler(), LogisticRegression()).fit(X, numpy.array(["no", "yes"])[y])   # 5
flat = PCA(2).fit_transform(X)                                                          # 6
RandomForestClassifier(2, max_depth=2, random_state=3, n_jobs=2).fit(sparse.csr_matrix(X), y)  # 7
MLPClassifier((5,), max_iter=4, random_state=1).fit(X.tolist(), y=y)                    # 8

class Own(LogisticRegression):
    def fit(self, X, y):
        self.mine_ = 3.5
        return super().fit(X, y)

own = Own().fit(X, y)                                                                   # 9
try:
    own.predict("nothing")
except ValueError:
    print("their error", own.score(X, y) > 0.5)                                         # 10
print(said.sum(), sgd.coef_.tolist(), repr(own), own.fit.__name__)
"""


def test_each_outermost_call_is_a_step(program: Program) -> None:
    ran = program(TEXT, interpreter=frameworks())
    asleep = "import sys\nsys.meta_path[:] = [one for one in sys.meta_path if type(one).__name__ != '_Waker']\n"
    alone = program(asleep + TEXT, interpreter=frameworks())
    assert ran.done.stderr == ""
    assert ran.done.stdout == alone.done.stdout
    assert ran.done.stdout.startswith("their error True\n")
    assert alone.collected.jobs == []
    assert (ran.job()["trace"]["steps"], ran.collected.notes) == (11, [])

    random = np.random.RandomState(0)
    x = random.normal(size=(60, 4))
    y = (x.sum(1) > 0).astype(int)
    digest = {name: digests_numpy([array])[0].hex() for name, array in {"X": x, "y": y, "part": x[20:40]}.items()}
    assert ran.digest(0, "data", "batch.X") == ran.digest(8, "data", "batch.X") == digest["X"]
    assert ran.digest(0, "data", "batch.y") == digest["y"]
    assert ran.digest(3, "data", "batch.X") == digest["part"]

    layers = [f"weight:MLPClassifier.{name}.{place}" for name in ("coefs_", "intercepts_") for place in (0, 1)]
    assert set(layers) | {"weight:MLPClassifier.loss_curve_"} <= set(ran.names(0, "update"))
    assert ran.inputs(0, "update", layers[0]) == ["batch.X", "batch.y"]
    (row,) = [row for row, _ in ran.rows(0) if row["tensor"] == "weight:MLPClassifier.loss_curve_"]
    assert (row["operator"], row["module"], row["shape"]) == ("MLPClassifier.fit", "MLPClassifier", [4])
    # The same again in a new estimator, from lists: the same bits under a name of its own.
    again = layers[0].replace("MLPClassifier", "MLPClassifier#1")
    assert ran.digest(8, "update", again) == ran.digest(0, "update", layers[0])

    assert ran.names(1) == ["batch.X", "output"]
    assert ran.digest(1, "forward", "output") != digest["y"]
    assert ran.inputs(1, "forward", "output")[0] == "batch.X"
    assert {"before " + layer for layer in layers} <= set(ran.inputs(1, "forward", "output"))

    assert ran.inputs(2, "update", "weight:SGDClassifier.coef_") == ["batch.X", "batch.y", "batch.classes"]
    assert ran.inputs(3, "update", "weight:SGDClassifier.coef_")[-1] == "before weight:SGDClassifier.coef_"

    assert {"weight:Pipeline.standardscaler.mean_", "weight:Pipeline.logisticregression.coef_"} <= set(ran.names(5))
    assert "'yes'" not in str(ran.job())
    assert ran.names(6, "forward") == ["output"]
    assert ran.inputs(6, "forward", "output")[:2] == ["batch.X", "weight:PCA.n_features_in_"]
    assert ran.names(7, "data") == ["batch.X.data", "batch.X.indices", "batch.X.indptr", "batch.y"]
    trees = [name for name in ran.names(7) if ".tree_." in name]
    assert {name.partition(".tree_.")[0] for name in trees} == {
        "weight:RandomForestClassifier.estimators_.0",
        "weight:RandomForestClassifier.estimators_.1",
    }
    assert {"left_child", "threshold", "values"} <= {name.rpartition(".")[2] for name in trees}
    assert {"weight:Own.mine_", "weight:Own.coef_"} <= set(ran.names(9))
    # A call that fails is no step: what it was given stands in the next one.
    assert ran.names(10) == ["batch.X", "batch.X#1", "output"]
    assert ran.digest(10, "data", "batch.X#1") == digest["X"]
    assert ran.inputs(10, "forward", "output")[0] == "batch.X#1"


def test_two_runs_are_equal_and_another_order_of_the_data_is_seen_in_the_data(program: Program) -> None:
    text = TEXT.partition("said =")[0] + "print(network.score(X, y))"
    one, two = (program(text, interpreter=frameworks()) for _ in range(2))
    other = program(text.replace("y = (X", "X = X[::-1]\ny = (X"), interpreter=frameworks())
    assert one.job()["trace"] == two.job()["trace"]
    assert [row["tensor"] for (row, a), (_, b) in zip(one.rows(0), other.rows(0), strict=True) if a != b][:2] == [
        "batch.X",
        "batch.y",
    ]


def test_what_processes_of_joblib_fit_is_said_not_to_be_recorded(program: Program) -> None:
    text = """
    import numpy
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    X = numpy.random.RandomState(0).normal(size=(40, 3))
    y = (X.sum(1) > 0).astype(int)
    search = GridSearchCV(LogisticRegression(), {"C": [1, 2]}, n_jobs=2, cv=2).fit(X, y)
    LogisticRegression().fit([["not numbers"]], [1]) if False else None
    """
    ran = program(text, interpreter=frameworks())
    assert ran.done.stderr == ""
    assert [job["name"] for job in ran.collected.jobs] == ["program"]
    assert ran.collected.notes == ["scikit-learn: what processes of joblib do is not recorded"]
    assert ran.job()["trace"]["steps"] == 1
    assert "weight:GridSearchCV.best_estimator_.coef_" in ran.names(0)
    assert not [name for name in ran.names(0) if "_time_" in name]


def test_an_x_without_bits_is_said(program: Program) -> None:
    text = """
    from sklearn.base import BaseEstimator
    class Counts(BaseEstimator):
        def fit(self, X, y=None):
            self.count_ = len(X)
            return self
    Counts().fit([{"a": 1}, {"b": 2}])
    Counts().fit(X=None)
    """
    ran = program(text.replace("Counts().fit(X=None)", ""), interpreter=frameworks())
    assert (ran.done.stdout, ran.done.stderr) == ("", "")
    assert ran.names(0) == ["weight:Counts.count_"]
    assert ran.collected.notes == ["scikit-learn: an X of list is not recorded"]
