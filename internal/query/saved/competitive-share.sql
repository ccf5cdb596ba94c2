-- title.es: Juegos competitivos por año
-- title.en: Competitive games a year
-- about.es: Qué parte de los juegos de cada año es competitiva, en tanto por ciento.
-- about.en: The share of each year's games that are competitive, in per cent.
-- plot: line year competitive_percent
SELECT year,
       round(100.0 * count(*) FILTER (WHERE competitive) / count(*), 1) AS competitive_percent,
       count(*) AS games
FROM videogames_latest
WHERE year IS NOT NULL
GROUP BY year
ORDER BY year
