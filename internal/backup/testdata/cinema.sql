CREATE TABLE kinds (id int PRIMARY KEY, t tinyint, tu tinyint unsigned, su smallint unsigned, mu mediumint unsigned, i int, iu int unsigned, b bigint, bu bigint unsigned,
  f float, d double, n decimal(12,2), w decimal(38,10), free decimal(65,30), zf decimal(6,2) zerofill, bits bit(7), bits64 bit(64), day date, at datetime, at6 datetime(6),
  ts timestamp NULL, ts3 timestamp(3) NULL, dur time, dur3 time(3), y year, c char(5), vc varchar(40), latin varchar(20) CHARACTER SET latin1, tx text, bin binary(4), vb varbinary(300),
  bl longblob, e enum('a','b,c','it''s', 'with "and` (x, y)'), st set('x','y','z'), j json, u uuid, i6 inet6, g point, gs geometry) COMMENT='it''s a (table), `so` "to say" \\ with\nlines';
INSERT INTO kinds VALUES (1, 1,1,1,1,1,1,1,1, 1.5, 2.5, 12.34, 1.5, 1.25, 1.5, b'101', 5, '2024-02-29', '2024-02-29 12:34:56', '2024-02-29 12:34:56.789012',
  '2024-02-29 12:34:56', '2024-02-29 12:34:56.789', '12:34:56', '-00:00:01.5', 2024, 'ab  ', 'ñandú \\n '' " \n\r\t\0 fin', 'ñandú', 'texto', 0x00010000, 0x0102275c00, 0x00ff275c0a,
  'it''s', 'x,z', '{"a": 1.0, "a": 2}', '123e4567-e89b-12d3-a456-426655440000', '::ffff:1.2.3.4', POINT(1,2), ST_GeomFromText('POINT(1 2)', 4326));
INSERT INTO kinds VALUES (2, 127,255,65535,16777215,2147483647,4294967295,9223372036854775807,18446744073709551615, 3.4028e38, 1.7976931348623157e308,
  9999999999.99, 9999999999999999999999999999.9999999999, 99999999999999999999999999999999999.999999999999999999999999999999, 9999.99, b'1111111', 18446744073709551615,
  '9999-12-31', '9999-12-31 23:59:59', '9999-12-31 23:59:59.999999', '2038-01-19 03:14:07', '2038-01-19 03:14:07.999', '838:59:59', '838:59:59.999', 2155,
  'ñññññ', repeat('€', 40), repeat('ÿ', 20), repeat('😀\'', 300), 0xffffffff, repeat(0xff, 8), repeat(0x5c27fe00, 300000), 'b,c', 'x,y,z', '[]',
  'ffffffff-ffff-ffff-ffff-ffffffffffff', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', POINT(0,0), ST_GeomFromText('POLYGON((0 0, 1 0, 1 1, 0 0))'));
INSERT INTO kinds VALUES (3, -128,0,0,0,-2147483648,0,-9223372036854775808,0, -1.17549435e-38, -2.2250738585072014e-308,
  -9999999999.99, -9999999999999999999999999999.9999999999, -0.000000000000000000000000000001, 0, b'0', 0,
  '0001-01-01', '0001-01-01 00:00:00', '0001-01-01 00:00:00.000001', '1970-01-01 00:00:01', '1970-01-01 00:00:01.001', '-838:59:59', '-838:59:59.999', 1901,
  '', '', '', '', '', '', '', 'with "and` (x, y)', '', 'null', '00000000-0000-0000-0000-000000000000', '::', POINT(-1,-1), ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1), LINESTRING(0 0, 1 1))', 4326));
INSERT INTO kinds (id, f, d) VALUES (4, 0.1, 0.1), (-5, -0e0, -0e0), (6, 16777217, 5e-324), (0, 123456.789, 1e22);
SET sql_mode = 'ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO';
INSERT INTO kinds (id, day, at, at6, ts, ts3, y, e) VALUES (5, '0000-00-00', '2025-00-15 01:02:03', '2024-02-31 01:02:03.5', 0, 0, 0, 'none of them');
CREATE TABLE rooms (id bigint unsigned NOT NULL AUTO_INCREMENT, name varchar(60) NOT NULL DEFAULT 'it''s, (new)', kind enum('2D','IMAX') DEFAULT '2D' COMMENT 'a, b) KEY `x`',
  seats int NOT NULL CHECK (seats > 0), wide int GENERATED ALWAYS AS (seats * 2) VIRTUAL, label varchar(80) GENERATED ALWAYS AS (concat(name, ', (', seats, ')')) STORED,
  made timestamp NOT NULL DEFAULT current_timestamp() ON UPDATE current_timestamp(), notes text, PRIMARY KEY (id), UNIQUE KEY by_name (name), KEY by_seats (seats DESC, name(5)), FULLTEXT KEY words (notes)) ENGINE=InnoDB;
INSERT INTO rooms (id, name, seats, kind, notes) SELECT seq, concat('room ', seq), seq % 90 + 1, if(seq % 3, '2D', 'IMAX'), md5(seq) FROM seq_0_to_2000;
DELETE FROM rooms WHERE id > 1990;
CREATE TABLE `odd ``name, (x` (`a``) REFERENCES ``rooms`` (` bigint unsigned, `key` int, n int AUTO_INCREMENT, KEY (n), UNIQUE KEY (`key`),
  CONSTRAINT `to, (rooms` FOREIGN KEY (`a``) REFERENCES ``rooms`` (`) REFERENCES rooms (id) ON DELETE CASCADE ON UPDATE SET NULL);
INSERT INTO `odd ``name, (x` (`a``) REFERENCES ``rooms`` (`, `key`) SELECT seq, seq FROM seq_1_to_50;
CREATE TABLE `before` (id int PRIMARY KEY, parent int, room bigint unsigned, CONSTRAINT up FOREIGN KEY (parent) REFERENCES `before` (id), CONSTRAINT `in` FOREIGN KEY (room) REFERENCES rooms (id));
INSERT INTO `before` VALUES (1, NULL, 1), (2, 1, 0), (3, 2, NULL);
CREATE TABLE parted (id int, at date, KEY (id)) PARTITION BY RANGE (year(at)) (PARTITION old VALUES LESS THAN (2020), PARTITION new VALUES LESS THAN MAXVALUE);
INSERT INTO parted SELECT seq, date_add('2018-01-01', INTERVAL seq DAY) FROM seq_1_to_1500;
CREATE TABLE keyless (v varchar(10) CHARACTER SET utf8mb3 COLLATE utf8mb3_bin);
INSERT INTO keyless VALUES ('a'), ('a'), (NULL);
CREATE TABLE none (id int PRIMARY KEY) DEFAULT CHARSET=latin1;
CREATE TABLE older (id int PRIMARY KEY, room bigint unsigned, n int, hidden int INVISIBLE DEFAULT 5, made varchar(50) DEFAULT concat('a', '), (', uuid()), flat blob COMPRESSED DEFAULT 'x',
  CONSTRAINT positive CHECK (n > 0), CONSTRAINT named FOREIGN KEY (room) REFERENCES rooms (id));
SET foreign_key_checks = 0, check_constraint_checks = 0;
INSERT INTO older (id, room, n) VALUES (1, 77777, -1);
UPDATE older SET hidden = 7, flat = repeat('y', 500);
CREATE VIEW looks AS SELECT id FROM rooms;
CREATE TRIGGER told BEFORE INSERT ON rooms FOR EACH ROW SET NEW.notes = upper(NEW.notes);
CREATE SEQUENCE tickets START WITH 100;
CREATE SEQUENCE unused;
CREATE TABLE halves (id int PRIMARY KEY, n bigint DEFAULT (nextval(tickets) * 2), word varchar(40) DEFAULT 'nextval(`tickets`)');
CREATE TABLE sold (id bigint NOT NULL DEFAULT nextval(tickets), who text);
INSERT INTO sold (who) VALUES ('a'), ('b')
