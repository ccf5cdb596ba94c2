-- title.es: Juegos por género
-- title.en: Games by genre
-- about.es: Cuántos juegos hay de cada género, del más frecuente al menos.
-- about.en: How many games there are of each genre, the most frequent first.
-- plot: bar genre games
SELECT genre, count(*) AS games
FROM videogames_latest
GROUP BY genre
ORDER BY games DESC, genre
