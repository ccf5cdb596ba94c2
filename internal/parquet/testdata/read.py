"""Prints the name and every row of Parquet files as pyarrow reads it, in the form of pyarrow_test.go."""

import struct
import sys

import pyarrow as pa
import pyarrow.parquet as pq


def render(kind, value):
    if value is None:
        return "null"
    if pa.types.is_list(kind):
        return "[" + " ".join(render(kind.value_type, v) for v in value) + "]"
    if pa.types.is_struct(kind):
        return "{" + " ".join(render(f.type, value[f.name]) for f in kind) + "}"
    if pa.types.is_boolean(kind):
        return str(int(value))
    if pa.types.is_floating(kind):
        return "nan" if value != value else struct.pack(">d", value).hex()
    if pa.types.is_decimal(kind):
        sign, digits, _ = value.as_tuple()
        return str((-1 if sign else 1) * int("".join(map(str, digits))))
    if pa.types.is_string(kind):
        return "x" + value.encode().hex()
    if pa.types.is_binary(kind):
        return "x" + value.hex()
    return str(value)


def plain(kind):
    """The type with times and dates as numbers, which Python has too few years for."""
    if pa.types.is_timestamp(kind):
        return pa.int64()
    if pa.types.is_date(kind):
        return pa.int32()
    if pa.types.is_list(kind):
        return pa.list_(pa.field("element", plain(kind.value_type), kind.value_field.nullable))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(f.name, plain(f.type), f.nullable) for f in kind])
    return kind


for name in sys.argv[1:]:
    table = pq.ParquetFile(name, page_checksum_verification=True).read()
    table.validate(full=True)
    columns = []
    for field, column in zip(table.schema, table.columns):
        kind = plain(field.type)
        columns.append([render(kind, v) for v in column.cast(kind).to_pylist()])
    print(name)
    for row in zip(*columns):
        print("|".join(row))
