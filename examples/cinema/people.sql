-- What PostgreSQL keeps of who comes and what they pay: psql -d cinema -f examples/cinema/people.sql
create table users (
    user_id    bigint primary key,
    email      text not null unique,
    full_name  text not null,
    phone      text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
create table reservations (
    reservation_id uuid primary key,
    user_id        bigint not null references users,
    schedule_id    bigint not null, -- of MySQL's schedules
    movie_id       text not null,   -- the _id of MongoDB's movies
    status         text not null,
    total          numeric(10,2) not null,
    created_at     timestamptz not null default now(),
    updated_at     timestamptz not null default now()
);
create table reserved_seats (
    reservation_id uuid not null references reservations,
    seat_id        int not null, -- of MySQL's seats
    price          numeric(8,2) not null,
    updated_at     timestamptz not null default now(),
    primary key (reservation_id, seat_id)
);
create table payments (
    payment_id     bigint primary key,
    reservation_id uuid not null references reservations,
    amount         numeric(10,2) not null,
    method         text not null,
    status         text not null,
    paid_at        timestamptz,
    updated_at     timestamptz not null default now()
);

insert into users (user_id, email, full_name, phone)
    select i, 'user' || i || '@example.com', case i % 2 when 0 then 'Ñusta Quispe ' else 'José Pérez ' end || i, case when i % 3 > 0 then '+51 9' || i end
    from generate_series(1, 50) i;
insert into reservations (reservation_id, user_id, schedule_id, movie_id, status, total)
    select md5('r' || i)::uuid, 1 + i % 50, 1 + i % 300, lpad(to_hex(1 + i % 300), 24, '0'), case when i % 5 = 0 then 'canceled' else 'confirmed' end, 2 * (5.50 + i % 4)
    from generate_series(1, 200) i;
insert into reserved_seats (reservation_id, seat_id, price)
    select md5('r' || i)::uuid, 1 + (2 * i + n) % 1000, 5.50 + i % 4 from generate_series(1, 200) i, generate_series(0, 1) n;
insert into payments (payment_id, reservation_id, amount, method, status, paid_at)
    select i, md5('r' || i)::uuid, 2 * (5.50 + i % 4), case when i % 2 = 0 then 'card' else 'yape' end, case when i % 5 = 0 then 'refunded' else 'paid' end,
        case when i % 5 > 0 then timestamptz '2026-11-30 12:00Z' + i * interval '1 minute' end
    from generate_series(1, 200) i;
