-- title.es: Juegos por año
-- title.en: Games by year
-- about.es: Cuántos juegos salieron cada año.
-- about.en: How many games came out each year.
-- plot: line year games
SELECT year, count(*) AS games
FROM videogames_latest
WHERE year IS NOT NULL
GROUP BY year
ORDER BY year
