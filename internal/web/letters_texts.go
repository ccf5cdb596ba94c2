package web

import "github.com/acequia-io/acequia/internal/query"

// letterTexts are the words of the pages of the dead letters in one language.
type letterTexts struct {
	Title, Lead, None, NoneHere, One, Many, Of, Filter, Pipeline, Stream, Step, Code, Text, TextHint, Any, Apply, Clear string
	Reasons, Count, Column, Reason, Letters, Select, ID, When, Where, Attempts, Record, Open, SelectAll                 string
	RetryChosen, DropChosen, RetryAll, DropAll, Older, Newest, Dropped, DroppedOne, Sending, ErrorTitle                 string
	Retries, RetryRuns, RetryEnded, RetryFailed, Refresh                                                                string
	ConfirmRetry, ConfirmDrop, RetryMeans, DropMeans, YesRetry, YesDrop, Cancel                                         string
	Letter, Why, WhatTo, Lane, Position, Row, Op, Version, Event, Source, First, Last, Original, OriginalHint           string
	Hex, Cut, NoOriginal, Edit, EditHint, EditNone, Preview, Changes, NoChanges, Field, Before, After, Save, Saved      string
	SavedHint, Retry, Drop, Back, Key, SelectOne, ReasonsHint                                                           string
	Changed, Added, Removed, Same, ChangesHint                                                                          string
}

//nolint:gochecknoglobals // constant tables
var (
	lettersES = letterTexts{
		Title: "Cartas muertas", Lead: "Registros que no pudieron pasar, con su motivo. Aquí se corrigen y se vuelven a enviar, sin parar nada.",
		None: "No hay cartas muertas: todo lo que llegó ha pasado.", NoneHere: "Ninguna carta cumple el filtro.",
		One: "carta", Many: "cartas", Of: "de", Filter: "Filtro", Pipeline: "Canal", Stream: "Flujo", Step: "Paso", Code: "Código",
		Text: "Texto", TextHint: "En el motivo, la columna o el registro.", Any: "todos", Apply: "Filtrar", Clear: "Quitar el filtro",
		Reasons: "Por motivo", ReasonsHint: "Motivos y cuántas cartas tiene cada uno", Count: "Cartas", Column: "Columna", Reason: "Motivo", Letters: "Lista de cartas muertas", Select: "Elegir",
		ID: "N.º", When: "Último intento (UTC)", Where: "Dónde", Attempts: "Intentos", Record: "Registro", Open: "Ver la carta", SelectAll: "Elegir todas las de esta página",
		RetryChosen: "Reenviar las elegidas", DropChosen: "Descartar las elegidas", RetryAll: "Reenviar las %s", DropAll: "Descartar las %s",
		Older: "Más antiguas", Newest: "Las más recientes", Dropped: "%s cartas descartadas.", DroppedOne: "1 carta descartada.", Sending: "reenviándose",
		ErrorTitle: "No se pudo hacer",
		Retries:    "Reenvíos", RetryRuns: "reenviando %s…", RetryEnded: "pasan: %s · rechazadas otra vez: %s", RetryFailed: "no terminó", Refresh: "Actualizar",
		ConfirmRetry: "¿Reenviar %s?", ConfirmDrop: "¿Descartar %s?",
		RetryMeans: "Cada registro vuelve al paso que lo rechazó y sigue hasta los destinos que no lo tienen. El que pasa llega una vez y deja de ser una carta muerta.",
		DropMeans:  "Se olvidan para siempre, con los bytes que se leyeron. No se puede deshacer.",
		YesRetry:   "Sí, reenviar %s", YesDrop: "Sí, descartar %s", Cancel: "Cancelar",
		Letter: "Carta muerta %d", Why: "Por qué no pasó", WhatTo: "Corrige el registro y reenvíalo, o descártalo.", Lane: "Carril", Position: "Posición", Row: "fila %s",
		Op: "Operación", Version: "Versión", Event: "Suceso", Source: "Origen", First: "Primer intento (UTC)", Last: "Último intento (UTC)",
		Original: "Bytes leídos", OriginalHint: "Tal como se leyeron la primera vez.", Hex: "No son texto: se muestran en hexadecimal.",
		Cut: "Se muestran los primeros %s. acequia dlq export los trae enteros.", NoOriginal: "Son los del registro de arriba, que nadie ha cambiado.",
		Edit: "Corregir el registro", EditHint: "Un objeto JSON con las columnas del flujo. Antes de guardar se muestra qué cambia.",
		EditNone: "De lo leído no se pudo hacer un registro. Escríbelo entero, como objeto JSON con las columnas del flujo.",
		Preview:  "Ver los cambios", Changes: "Qué cambia", NoChanges: "No cambia nada.", Field: "Campo", Before: "Antes", After: "Después",
		Save: "Guardar los cambios", Saved: "Cambios guardados.", SavedHint: "Ahora puedes reenviar la carta.", Retry: "Reenviar", Drop: "Descartar…",
		Back: "Volver a la lista", Key: "Registro (JSON)", SelectOne: "Elegir la carta %d",
		Changed: "cambia", Added: "se añade", Removed: "se quita", Same: "igual", ChangesHint: "Cada campo antes y después",
	}
	lettersEN = letterTexts{
		Title: "Dead letters", Lead: "Records that could not pass, with the reason. Mend them here and send them again; nothing has to stop.",
		None: "There are no dead letters: all that came has passed.", NoneHere: "No letter fits the filter.",
		One: "letter", Many: "letters", Of: "of", Filter: "Filter", Pipeline: "Pipeline", Stream: "Stream", Step: "Step", Code: "Code",
		Text: "Text", TextHint: "In the reason, the column or the record.", Any: "any", Apply: "Filter", Clear: "Clear the filter",
		Reasons: "By reason", ReasonsHint: "Reasons, and how many letters each has", Count: "Letters", Column: "Column", Reason: "Reason", Letters: "List of dead letters", Select: "Select",
		ID: "No.", When: "Last attempt (UTC)", Where: "Where", Attempts: "Attempts", Record: "Record", Open: "See the letter", SelectAll: "Select all on this page",
		RetryChosen: "Retry selected", DropChosen: "Drop selected", RetryAll: "Retry all %s", DropAll: "Drop all %s",
		Older: "Older", Newest: "Newest", Dropped: "%s letters dropped.", DroppedOne: "1 letter dropped.", Sending: "being sent",
		ErrorTitle: "It could not be done",
		Retries:    "Retries", RetryRuns: "sending %s…", RetryEnded: "%s passed, %s refused again", RetryFailed: "it did not end well", Refresh: "Refresh",
		ConfirmRetry: "Retry %s?", ConfirmDrop: "Drop %s?",
		RetryMeans: "Each record goes back to the step that refused it, and on to the sinks that have not had it. One that passes reaches each of them once, and is a dead letter no longer.",
		DropMeans:  "They are forgotten for good, with their original bytes. This cannot be undone.",
		YesRetry:   "Yes, retry %s", YesDrop: "Yes, drop %s", Cancel: "Cancel",
		Letter: "Dead letter %d", Why: "Why it did not pass", WhatTo: "Mend the record and send it again, or drop it.", Lane: "Lane", Position: "Position", Row: "row %s",
		Op: "Operation", Version: "Version", Event: "Event", Source: "Source", First: "First attempt (UTC)", Last: "Last attempt (UTC)",
		Original: "Original bytes", OriginalHint: "As they were read at first.", Hex: "They are no text: here they are in hexadecimal.",
		Cut: "These are the first %s. acequia dlq export has all of them.", NoOriginal: "They are those of the record above, which nobody has changed.",
		Edit: "Mend the record", EditHint: "A JSON object with the columns of the stream. What changes is shown before it is saved.",
		EditNone: "No record could be made of what was read. Write it whole, as a JSON object with the columns of the stream.",
		Preview:  "Show changes", Changes: "What changes", NoChanges: "Nothing changes.", Field: "Field", Before: "Before", After: "After",
		Save: "Save changes", Saved: "Changes saved.", SavedHint: "Now the letter can be sent again.", Retry: "Retry", Drop: "Drop…",
		Back: "Back to the list", Key: "Record (JSON)", SelectOne: "Select letter %d",
		Changed: "changed", Added: "added", Removed: "removed", Same: "same", ChangesHint: "Each field before and after",
	}
	letterAdvice = map[string]query.Localized{
		"ACQ-DLQ-001": {
			ES: "No se sabe qué columnas espera ese paso. Declara el esquema de la fuente.", EN: "The columns that this step is given are not known. Declare the schema of the source.",
		},
		"ACQ-DLQ-002": {
			ES: "El paso o destino que la rechazó ya no existe. Descártala, o devuelve el paso con su nombre.",
			EN: "The step or sink that refused it is gone. Drop it, or bring the step back under its name.",
		},
		"ACQ-DLQ-003": {
			ES: "Ya se están reenviando cartas de este canal. Espera a que termine.", EN: "Letters of this pipeline are being sent again already. Wait until that has ended.",
		},
		"ACQ-DLQ-004": {
			ES: "El registro no encaja en las columnas del flujo. Corrígelo; no se ha guardado nada.",
			EN: "The record does not fit the columns of the stream. Correct it; nothing was saved.",
		},
		"ACQ-DLQ-005": {ES: "acequia se está parando. Reenvíalas cuando vuelva a funcionar.", EN: "acequia is being stopped. Send them again when it runs."},
		"ACQ-DLQ-006": {
			ES: "Un navegador solo puede pedir esto desde estas páginas. No se ha hecho nada.", EN: "A browser may ask for this only from these pages. Nothing was done.",
		},
		"ACQ-DLQ-007": {ES: "Elige al menos una carta.", EN: "Choose at least one letter."},
		"ACQ-DLQ-008": {ES: "Esto no es un registro. Escribe un objeto JSON; no se ha guardado nada.", EN: "This is no record. Write a JSON object; nothing was saved."},
		"ACQ-USE-005": {
			ES: "El canal de esta carta ya no está en la configuración.", EN: "The pipeline of this letter is not in the configuration any more.",
		},
	}
	noLetter = query.Localized{
		ES: "No hay ninguna carta con ese número: quizá pasó o se descartó.", EN: "There is no letter of that number: it may have passed, or was dropped.",
	}
)

func letterTextsFor(lang string) *letterTexts {
	if lang == "es" {
		return &lettersES
	}
	return &lettersEN
}
