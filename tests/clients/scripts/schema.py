"""Reads a schema and documents from standard input, as {"schema": …, "documents": […]}, and prints
of each document whether the schema takes it."""

import json
import sys

from jsonschema import Draft202012Validator

given = json.load(sys.stdin)
Draft202012Validator.check_schema(given["schema"])
validator = Draft202012Validator(given["schema"])
print(json.dumps([validator.is_valid(document) for document in given["documents"]]))
