"""The built-in estimators, one a file; the file's name is the estimator's."""
