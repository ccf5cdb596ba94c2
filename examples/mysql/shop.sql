-- A small shop to try acequia with: mysql -e 'CREATE DATABASE shop' && mysql shop < examples/mysql/shop.sql
CREATE TABLE customers (
    id         bigint AUTO_INCREMENT PRIMARY KEY,
    name       varchar(100) NOT NULL,
    email      varchar(100),
    updated_at timestamp(6) NOT NULL DEFAULT current_timestamp(6) ON UPDATE current_timestamp(6),
    KEY (updated_at, id)
);
CREATE TABLE orders (
    id         bigint AUTO_INCREMENT PRIMARY KEY,
    customer   bigint,
    total      decimal(12,2) NOT NULL,
    paid       tinyint NOT NULL DEFAULT 0,
    kind       enum('web', 'phone') NOT NULL DEFAULT 'web',
    updated_at timestamp(6) NOT NULL DEFAULT current_timestamp(6) ON UPDATE current_timestamp(6),
    KEY (updated_at, id), FOREIGN KEY (customer) REFERENCES customers (id)
);
CREATE TABLE visits (at timestamp NOT NULL DEFAULT current_timestamp, page varchar(100)); -- without a key: read as a snapshot

INSERT INTO customers (name, email) VALUES ('Ada', 'ada@example.com'), ('Ñandú, "Ltd"', NULL);
INSERT INTO orders (customer, total) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) SELECT 1 + i % 2, i * 1.25 FROM n;
INSERT INTO visits (page) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50) SELECT concat('/page/', i % 7) FROM n;
