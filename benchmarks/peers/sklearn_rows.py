"""Texts or tables by scikit-learn as its users take it.

    python sklearn_rows.py TRAIN.csv TEST.csv --label COLUMN --kind text|table --model logistic|boosting

Texts: TF-IDF of words and pairs of words, and of 2 to 5 characters within words, and logistic regression. Tables: gaps
filled and told, numbers standardised, categories one-hot, and logistic regression; or gradient boosting on histograms,
which takes gaps and categories as they are.
"""

from __future__ import annotations

import argparse
import json
import warnings

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline, make_union
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

MOST_CATEGORIES = 200


def build_text_model() -> Pipeline:
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
    return make_pipeline(make_union(words, characters), LogisticRegression(C=10, max_iter=2000))


def build_table_model(name: str, rows: pd.DataFrame, seed: int) -> Pipeline:
    numbers = [column for column in rows if pd.api.types.is_numeric_dtype(rows[column])]
    others = [column for column in rows if column not in numbers]
    few = [column for column in others if rows[column].nunique() <= MOST_CATEGORIES]
    if name == "logistic":
        columns = make_column_transformer(
            (make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()), numbers),
            (OneHotEncoder(handle_unknown="ignore", min_frequency=2), few),
        )
        return make_pipeline(columns, LogisticRegression(max_iter=2000))
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-1)
    columns = make_column_transformer(("passthrough", numbers), (codes, few))
    categorical = [False] * len(numbers) + [True] * len(few)
    boosting = HistGradientBoostingClassifier(categorical_features=categorical, random_state=seed)
    return make_pipeline(columns, boosting)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("train")
    parser.add_argument("test")
    parser.add_argument("--label", required=True)
    parser.add_argument("--kind", choices=("text", "table"), required=True)
    parser.add_argument("--model", choices=("logistic", "boosting"), required=True)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    train, test = pd.read_csv(options.train), pd.read_csv(options.test)
    if options.kind == "text":
        model, inputs = build_text_model(), [frame["text"].fillna("") for frame in (train, test)]
    else:
        inputs = [frame.drop(columns=options.label) for frame in (train, test)]
        model = build_table_model(options.model, inputs[0], options.seed)
    model.fit(inputs[0], train[options.label])
    right = np.asarray(model.predict(inputs[1])) == test[options.label].to_numpy()
    print(json.dumps({"accuracy": float(right.mean())}))


if __name__ == "__main__":
    main()
