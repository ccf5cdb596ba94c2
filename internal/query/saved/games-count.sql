-- title.es: Cuántos juegos hay
-- title.en: How many games there are
-- about.es: El número de juegos, cada uno contado una vez.
-- about.en: The number of games, each counted once.
SELECT count(*) AS games
FROM videogames_latest
