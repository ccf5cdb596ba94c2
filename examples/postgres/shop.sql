-- A small shop to try acequia with: createdb shop && psql -d shop -f examples/postgres/shop.sql
create table customers (
    id         bigint generated always as identity primary key,
    name       text not null,
    email      text,
    updated_at timestamptz not null default now()
);
create table orders (
    id         uuid primary key default gen_random_uuid(),
    customer   bigint references customers,
    total      numeric(12,2) not null,
    paid       boolean not null default false,
    lines      jsonb not null default '[]',
    updated_at timestamptz not null default now()
);
create table visits (at timestamptz not null default now(), page text); -- without a key: read as a snapshot

insert into customers (name, email) values ('Ada', 'ada@example.com'), ('Ñandú, "Ltd"', null);
insert into orders (customer, total, lines)
    select 1 + i % 2, i * 1.25, jsonb_build_array(jsonb_build_object('product', 'bolt', 'pieces', i)) from generate_series(1, 1000) i;
insert into visits (page) select '/page/' || i % 7 from generate_series(1, 50) i;
