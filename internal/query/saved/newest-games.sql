-- title.es: Los últimos registrados
-- title.en: Newest registrations
-- about.es: Los 20 juegos registrados o cambiados más recientemente.
-- about.en: The 20 games registered or changed most recently.
SELECT _event_ts AS registered, title, developer, genre, year, competitive
FROM videogames_latest
ORDER BY _event_ts DESC, title
LIMIT 20
