"""Logistic regression, to ask whether anything linear tells two sets apart."""

import numpy as np

FOLDS = 5
_ITERATIONS = 50
_TOLERANCE = 1e-8


def fit(features: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights and offset of an L2-regularised logistic regression.

    The minimum of |w|^2 / 2 + the sum of log losses, in which both classes weigh the
    same: scikit-learn's LogisticRegression(C=1, class_weight='balanced'). By Newton's
    method (Hastie et al., The Elements of Statistical Learning, 2009, sec. 4.4.1).

    Args:
        features: (samples, features), of similar scale.
        positive: (samples,) bool, both classes present.

    Returns:
        w, (features,), and the offset: positive where features @ w + offset > 0.
    """
    n, positives = len(positive), positive.sum()
    shares = np.where(positive, n / (2 * positives), n / (2 * (n - positives)))
    signs = np.where(positive, 1.0, -1.0)
    design = np.column_stack([features, np.ones(n)])
    penalty = np.append(np.ones(features.shape[1]), 0.0)

    def loss(w: np.ndarray) -> float:
        margins = signs * (design @ w)
        return shares @ np.logaddexp(0, -margins) + penalty @ np.square(w) / 2

    w = np.zeros(design.shape[1])
    now = loss(w)
    for _ in range(_ITERATIONS):
        likely = 0.5 * (1 + np.tanh(design @ w / 2))
        slope = design.T @ (shares * (likely - positive)) + penalty * w
        if np.abs(slope).max() < _TOLERANCE * n:
            break
        curvature = (design.T * (shares * likely * (1 - likely))) @ design
        # The offset alone is not regularised: a little keeps the matrix regular.
        step = np.linalg.solve(curvature + np.diag(penalty + 1e-10), slope)
        while (then := loss(w - step)) > now and np.abs(step).max() > _TOLERANCE:
            step = step / 2
        w, now = w - step, then
    return w[:-1], float(w[-1])


def cross_validated_accuracy(
    features: np.ndarray, positive: np.ndarray, folds: np.ndarray
) -> float:
    """Balanced accuracy on folds that the regression has not seen.

    Features are standardised by mean and deviation of the other folds.

    Args:
        features: (samples, features).
        positive: (samples,) bool.
        folds: (samples,) int, each with samples of both classes.

    Returns:
        Mean of the shares of positives and of negatives that are recognised, over all
        samples; what is on the boundary counts half.
    """
    right = np.zeros(len(positive))
    for fold in np.unique(folds):
        test = folds == fold
        training = features[~test]
        deviation = training.std(axis=0)
        scale = np.where(deviation > 1e-12, deviation, 1.0)
        unit = (features - training.mean(axis=0)) / scale
        w, offset = fit(unit[~test], positive[~test])
        margins = np.where(positive[test], 1, -1) * (unit[test] @ w + offset)
        # What differs by rounding only is on the boundary.
        right[test] = np.where(np.abs(margins) < 1e-6, 0.5, margins > 0)
    return float((right[positive].mean() + right[~positive].mean()) / 2)
