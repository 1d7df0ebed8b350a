"""Pseudo-attributes: known clusters are found in any order of clips; imprinted centres are mean directions."""

import numpy as np
import pytest

from embedders.training.pseudo_labels import KMeans, LeastBIC, clustering_of, clusters, imprint, k_means, pseudo_labels


@pytest.fixture
def blobs(rng):
    """Three separate clusters of 40 clips in 20 dimensions, and the cluster of each clip."""
    truth = np.repeat(np.arange(3), 40)
    return 10 * np.eye(3, 20)[truth] + rng.normal(size=(120, 20)), truth


def same_partition(a, b):
    return np.array_equal(a[:, None] == a, b[:, None] == b)


def test_bic_finds_the_true_clusters(blobs):
    X, truth = blobs
    labels = clusters(X, max_components=5, n_dims=3)
    assert same_partition(labels, truth)
    assert set(labels) == {0, 1, 2}


def test_one_gaussian_is_one_cluster(rng):
    assert not clusters(rng.normal(size=(80, 6)), max_components=3).any()


def test_order_and_scale_of_the_clips_do_not_matter(blobs, rng):
    X, _ = blobs
    order = rng.permutation(len(X))
    labels = clusters(X, max_components=4, n_dims=3)
    np.testing.assert_array_equal(clusters(X[order], max_components=4, n_dims=3), labels[order])
    assert same_partition(clusters(1000 * X, max_components=4, n_dims=3), labels)


def test_each_group_is_clustered_separately(blobs):
    X, truth = blobs
    group = [("fan", ("source", "target")[i % 2]) for i in range(len(X))]
    labels = pseudo_labels(X, group, lambda X, domain, seed: clusters(X, max_components=4, n_dims=3, seed=seed))
    for i in (0, 1):
        assert same_partition(labels[i::2], truth[i::2])
        np.testing.assert_array_equal(labels[i::2], clusters(X[i::2], max_components=4, n_dims=3))
    np.testing.assert_array_equal(
        pseudo_labels(X, group, LeastBIC(most=4))[::2], clusters(X[::2], max_components=4), "the default dimensions"
    )


def test_k_means_by_hand():
    """Two pairs and a single row; with two clusters the lone row is nearer to the second pair."""
    X = np.array([[0.0], [10.0], [1.0], [11.0], [20.0]])
    assert k_means(X, 3).tolist() == [0, 1, 0, 1, 2]
    assert k_means(X, 2).tolist() == [0, 1, 0, 1, 1]
    assert k_means(X, 1).tolist() == [0] * 5
    assert sorted(k_means(X, 99).tolist()) == [0, 1, 2, 3, 4]
    assert k_means(X[:0], 7).shape == (0,)


def test_k_means_finds_the_true_clusters_in_any_order(blobs, rng):
    X, truth = blobs
    labels, order = k_means(X, 3), rng.permutation(len(X))
    assert same_partition(labels, truth)
    np.testing.assert_array_equal(k_means(X[order], 3), labels[order])
    assert not k_means(np.ones((5, 2)), 3).any()


def test_the_number_of_clusters_follows_the_domain(blobs):
    X, truth = blobs
    group = [("fan", "00", ("source", "", "target")[i % 3]) for i in range(len(X))]
    labels = pseudo_labels(X, group, KMeans(source=3, target=1))
    assert same_partition(labels[0::3], truth[0::3])
    assert same_partition(labels[1::3], truth[1::3]), "an unknown domain counts as source"
    assert not labels[2::3].any()


def test_clusterings_are_read_from_text():
    assert clustering_of("bic") == LeastBIC(most=16)
    assert clustering_of("kmeans") == clustering_of("kmeans:source=7,target=1") == KMeans(source=7, target=1)
    for text, message in (
        ("kmean", "unknown clusters: 'kmean'; did you mean kmeans"),
        ("kmeans:sources=3", "unknown parameter of clusters kmeans: 'sources'; did you mean source"),
        ("kmeans:source=0", "clusters=kmeans:source=0: expected numbers of at least 1"),
        ("kmeans:source=many", "source=many: expected int"),
    ):
        with pytest.raises(ValueError, match=message):
            clustering_of(text)


def test_few_or_equal_clips_are_one_cluster():
    assert clusters(np.arange(6.0).reshape(3, 2)).tolist() == [0, 0, 0]
    assert not clusters(np.ones((50, 4))).any()
    assert clusters(np.zeros((0, 4))).shape == (0,)


def test_imprinted_centres_are_mean_directions_and_others_do_not_change(rng):
    centres = rng.normal(size=(3, 2))
    centres.flags.writeable = False
    imprinted = imprint(centres, np.array([[5.0, 0.0], [0.0, 0.1]]), np.array([1, 1]))
    np.testing.assert_allclose(imprinted[1], [0.5**0.5, 0.5**0.5])
    np.testing.assert_array_equal(imprinted[[0, 2]], centres[[0, 2]])
    clustered = rng.normal(size=(3, 4, 2))
    imprinted = imprint(clustered, np.array([[0.0, 3.0]]), np.array([2]))
    np.testing.assert_allclose(imprinted[2, 0], [0.0, 1.0])
    np.testing.assert_array_equal(imprinted[2, 1:], clustered[2, 1:])


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match="one group for each of 4"):
        pseudo_labels(np.zeros((4, 2)), [("a",)], LeastBIC())
    with pytest.raises(ValueError, match="finite embeddings"):
        clusters(np.full((4, 2), np.nan))
    with pytest.raises(ValueError, match="at least 1"):
        clusters(np.zeros((4, 2)), max_components=0)
    with pytest.raises(ValueError, match="classes from 0 to 2"):
        imprint(np.zeros((3, 2)), np.ones((1, 2)), np.array([3]))
    with pytest.raises(ValueError, match="2 dimensions"):
        imprint(np.zeros((3, 2)), np.ones((1, 5)), np.array([0]))
