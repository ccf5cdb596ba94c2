-- title.es: Juegos por compañía
-- title.en: Games by developer
-- about.es: Las 20 compañías con más juegos.
-- about.en: The 20 developers with the most games.
-- plot: bar developer games
SELECT developer, count(*) AS games
FROM videogames_latest
GROUP BY developer
ORDER BY games DESC, developer
LIMIT 20
