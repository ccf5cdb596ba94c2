# Reads statements as JSON, [{"dialect": ..., "sql": ..., "write": ...}], and writes what sqlglot makes of each: {"error"} or {"kind", "name", "columns",
# "partition", "properties", "sql"}. Statements that sqlglot passes over as a command it knows nothing of are errors: nothing was parsed.
import json
import logging
import sys

import sqlglot
from sqlglot import exp
from sqlglot.errors import ErrorLevel, SqlglotError
from sqlglot.optimizer.annotate_types import annotate_types

logging.disable(logging.CRITICAL)


def columns(nodes, dialect):
    return [{"name": c.this.name, "type": c.kind.sql(dialect=dialect).lower()} for c in nodes if isinstance(c, exp.ColumnDef)]


def read(dialect, sql, write):
    found = sqlglot.parse(sql, read=dialect, error_level=ErrorLevel.RAISE)
    found = [s for s in found if s is not None]
    if len(found) != 1:
        raise SqlglotError(f"{len(found)} statements")
    tree = found[0]
    if any(isinstance(n, (exp.Command, exp.Anonymous)) for n in tree.walk()):
        raise SqlglotError("not understood: " + sql)
    # What sqlglot lets pass because other dialects have it.
    if any(isinstance(n, exp.Select) and not n.expressions for n in tree.walk()):
        raise SqlglotError("a SELECT of nothing: " + sql)
    if any(isinstance(n, exp.Star) and any(n.args.values()) for n in tree.walk()):
        raise SqlglotError("a * with exceptions: " + sql)
    if write:  # what / is depends on the types
        tree = annotate_types(tree, dialect=dialect)
    out = {"kind": tree.key, "sql": tree.sql(dialect=write or dialect)}
    if isinstance(tree, exp.Create):
        out["kind"] = "create " + tree.kind.lower()
        out["name"] = tree.find(exp.Table).name
        if isinstance(tree.this, exp.Schema):
            out["columns"] = columns(tree.this.expressions, "hive")
        properties = tree.args.get("properties")
        for p in properties.expressions if properties else []:
            if isinstance(p, exp.PartitionedByProperty):
                out["partition"] = columns(p.this.expressions, "hive")
            elif isinstance(p, exp.LocationProperty):
                out["location"] = p.this.name
            elif type(p) is exp.Property:
                out.setdefault("properties", {})[p.this.name] = p.args["value"].name
    return out


answers = []
for s in json.load(sys.stdin):
    try:
        answers.append(read(s["dialect"], s["sql"], s.get("write")))
    except SqlglotError as e:
        answers.append({"error": str(e)})
json.dump(answers, sys.stdout)
