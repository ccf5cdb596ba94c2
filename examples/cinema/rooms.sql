-- What MySQL or MariaDB keeps of the cinemas: mysql cinema < examples/cinema/rooms.sql
CREATE TABLE rooms (
    room_id     INT PRIMARY KEY,
    name        VARCHAR(60) NOT NULL,
    screen_type ENUM('2D', '3D', 'IMAX', '4DX') NOT NULL,
    capacity    INT NOT NULL,
    updated_at  TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6),
    INDEX (updated_at)
);
CREATE TABLE seats (
    seat_id     INT PRIMARY KEY,
    room_id     INT NOT NULL,
    seat_row    CHAR(1) NOT NULL,
    seat_number INT NOT NULL,
    seat_type   VARCHAR(12) NOT NULL,
    updated_at  TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6),
    INDEX (updated_at), FOREIGN KEY (room_id) REFERENCES rooms (room_id)
);
CREATE TABLE schedules (
    schedule_id BIGINT PRIMARY KEY,
    room_id     INT NOT NULL,
    movie_id    CHAR(24) NOT NULL, -- the _id of MongoDB's movies
    starts_at   DATETIME NOT NULL, -- as the programme on the wall says it
    language    VARCHAR(20),
    price       DECIMAL(8,2) NOT NULL,
    updated_at  TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6),
    INDEX (updated_at), FOREIGN KEY (room_id) REFERENCES rooms (room_id)
);

INSERT INTO rooms (room_id, name, screen_type, capacity)
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10)
SELECT i, CONCAT('Sala ', i), ELT(1 + i % 4, '2D', '3D', 'IMAX', '4DX'), 100 FROM n;

INSERT INTO seats (seat_id, room_id, seat_row, seat_number, seat_type)
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 999)
SELECT i + 1, 1 + i DIV 100, CHAR(65 + i DIV 10 % 10 USING ascii), 1 + i % 10, IF(i DIV 10 % 10 < 8, 'standard', 'premium') FROM n;

INSERT INTO schedules (schedule_id, room_id, movie_id, starts_at, language, price)
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 299)
SELECT i + 1, 1 + i % 10, LOWER(LPAD(HEX(1 + i), 24, '0')), '2026-12-01 16:00:00' + INTERVAL (i DIV 10) * 3 HOUR, IF(i % 3 = 0, NULL, 'es'), 5.50 + i % 4 FROM n;
