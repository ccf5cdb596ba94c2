package web

import "github.com/acequia-io/acequia/internal/query"

// texts are the words of the pages in one language.
type texts struct {
	QueryTitle, QueryLead, Statement, StatementHint, Run, Download, SavedTitle  string
	TablesTitle, NoTables, Files, Rows, Columns, Result, NoRows                 string
	Took, Cut, CellCut, Draw, DrawAs, AsTable, AsBar                            string
	AsLine, LabelsFrom, NumbersFrom, Redraw, PlotCut, NotDrawn, ErrorTitle      string
	Code, BarOf, LineOf, Least, Most, Link, PlotTitle                           string
	StatusTitle, StatusLead, Lag, Speed, RowsDone, LastFile, DeadLetters        string
	Reason, NoPipelines, Updated, Refresh, Pause, Unknown, None                 string
	AllWell, Trouble, Never, Ago, Unreadable, ResultRows, ErrorPlace, File, Row string
	FormsTitle, NoForms                                                         string
	Lanes, LanesEnded, Lane, State, Streams, Stream, Strategy, Kept, LostIn     string
	Risks, ReadAnew, NotRead, Unfit, Unrouted                                   string
}

//nolint:gochecknoglobals // constant tables
var (
	spanish = texts{
		QueryTitle: "Consulta", QueryLead: "Pregunta con SQL a los datos del lago. Aquí solo se lee: nada puede cambiarse.",
		Statement: "Consulta SQL", StatementHint: "Una sola sentencia SELECT. Ctrl+Intro la ejecuta.", Run: "Ejecutar",
		Download: "Descargar CSV", SavedTitle: "Consultas guardadas", TablesTitle: "Tablas",
		NoTables: "Todavía no hay tablas: aparecen con el primer registro.", File: "archivo", Files: "archivos", Row: "fila", Rows: "filas",
		Columns: "Columnas", Result: "Resultado",
		NoRows: "La consulta no da ninguna fila.", Took: "en %s", Cut: "Se muestran las primeras %s filas; hay más. El CSV las trae.",
		CellCut: "Los textos muy largos se acortan aquí; el CSV los trae enteros.", Draw: "Gráfico", DrawAs: "Mostrar como",
		AsTable: "Solo tabla", AsBar: "Barras", AsLine: "Línea", LabelsFrom: "Etiquetas", NumbersFrom: "Números",
		Redraw: "Dibujar", PlotCut: "El gráfico muestra los primeros %s valores.",
		NotDrawn:   "No se puede dibujar: la columna de los números no tiene ninguno.",
		ErrorTitle: "La consulta no se pudo ejecutar", Code: "Código",
		BarOf: "Gráfico de barras de %s por %s", LineOf: "Gráfico de línea de %s por %s", PlotTitle: "%s por %s",
		Least: "mínimo", Most: "máximo", Link: "Enlace a esta consulta",
		StatusTitle: "Estado", StatusLead: "Qué hace cada canal en este momento.",
		Lag: "Retraso", Speed: "Filas por segundo", RowsDone: "Filas", LastFile: "Último archivo",
		DeadLetters: "Cartas muertas", Reason: "Motivo", NoPipelines: "No hay ningún canal en marcha.",
		Updated: "Actualizado a las %s UTC", Refresh: "Actualizar", Pause: "Pausar la actualización", Unknown: "desconocido",
		None: "ninguno", AllWell: "Todos los canales funcionan.", Trouble: "Hay canales que necesitan atención.",
		Never: "todavía no", Ago: "hace %s", Unreadable: "No se pueden leer las tablas",
		ResultRows: "Filas del resultado", ErrorPlace: "Dónde está el error",
		FormsTitle: "Formularios", NoForms: "Ningún canal empieza en un formulario.",
		Lanes: "Tramos", LanesEnded: "%d más han terminado", Lane: "Tramo", State: "Estado", Streams: "Flujos", Stream: "Flujo",
		Strategy: "Estrategia", Kept: "Guardado en el origen", LostIn: "Se pierde en", Risks: "Riesgos", ReadAnew: "se leyó de nuevo: %s",
		Unfit:   "valores que están como texto en %[2]s, pues no caben en su columna: %[1]s",
		NotRead: "no se lee: %s", Unrouted: "Sin destino en la ruta",
	}
	english = texts{
		QueryTitle: "Query", QueryLead: "Ask the data in the lake with SQL. This page only reads: nothing can be changed.",
		Statement: "SQL query", StatementHint: "One SELECT statement. Ctrl+Enter runs it.", Run: "Run",
		Download: "Download CSV", SavedTitle: "Saved queries", TablesTitle: "Tables",
		NoTables: "There is no table yet: the first record brings it.", File: "file", Files: "files", Row: "row", Rows: "rows",
		Columns: "Columns", Result: "Result",
		NoRows: "The query gives no rows.", Took: "in %s", Cut: "These are the first %s rows; there are more. The CSV has them.",
		CellCut: "Very long texts are shortened here; the CSV has them whole.", Draw: "Plot", DrawAs: "Show as",
		AsTable: "Table only", AsBar: "Bars", AsLine: "Line", LabelsFrom: "Labels", NumbersFrom: "Numbers",
		Redraw: "Draw", PlotCut: "The plot shows the first %s values.",
		NotDrawn:   "There is nothing to draw: the column of the numbers has none.",
		ErrorTitle: "The query could not be run", Code: "Code",
		BarOf: "Bar chart of %s by %s", LineOf: "Line chart of %s by %s", PlotTitle: "%s by %s",
		Least: "least", Most: "most", Link: "Link to this query",
		StatusTitle: "Status", StatusLead: "What each pipeline is doing at this moment.",
		Lag: "Lag", Speed: "Rows per second", RowsDone: "Rows", LastFile: "Last file",
		DeadLetters: "Dead letters", Reason: "Reason", NoPipelines: "No pipeline is running.",
		Updated: "Updated at %s UTC", Refresh: "Refresh", Pause: "Pause updates", Unknown: "unknown",
		None: "none", AllWell: "All pipelines are well.", Trouble: "Some pipelines need attention.",
		Never: "not yet", Ago: "%s ago", Unreadable: "The tables cannot be read",
		ResultRows: "Rows of the result", ErrorPlace: "Where the error is",
		FormsTitle: "Forms", NoForms: "No pipeline begins with a form.",
		Lanes: "Lanes", LanesEnded: "%d more have ended", Lane: "Lane", State: "State", Streams: "Streams", Stream: "Stream",
		Strategy: "Strategy", Kept: "Kept at the source", LostIn: "Lost in", Risks: "Risks", ReadAnew: "was read anew: %s",
		Unfit:   "values that are text in %[2]s, for their column cannot hold them: %[1]s",
		NotRead: "is not read: %s", Unrouted: "For no sink of the route",
	}
	stateNames = map[State]query.Localized{
		Waiting:  {ES: "esperando", EN: "waiting"},
		Starting: {ES: "arrancando", EN: "starting"}, Running: {ES: "en marcha", EN: "running"},
		Retrying: {ES: "reintentando", EN: "retrying"}, Stopped: {ES: "parado", EN: "stopped"},
		Failed: {ES: "fallido", EN: "failed"}, Ended: {ES: "terminado", EN: "ended"}, Resting: {ES: "en reposo", EN: "resting"},
		Elsewhere: {ES: "en otro proceso", EN: "elsewhere"},
	}
	advice = map[string]query.Localized{
		"ACQ-QUERY-001": {
			ES: "Este programa se compiló sin motor SQL. Compílalo con CGO_ENABLED=1 y un compilador de C.",
			EN: "This program was built without an SQL engine. Build it with CGO_ENABLED=1 and a C compiler.",
		},
		"ACQ-QUERY-002": {
			ES: "DuckDB no entiende la consulta. Corrige lo que señala y vuelve a ejecutarla.",
			EN: "DuckDB cannot make sense of the query. Correct what it points at and run it again.",
		},
		"ACQ-QUERY-003": {
			ES: "Aquí solo se admite una sentencia que lea: SELECT, DESCRIBE, SHOW, SUMMARIZE o EXPLAIN.",
			EN: "Only one statement that reads is allowed here: SELECT, DESCRIBE, SHOW, SUMMARIZE or EXPLAIN.",
		},
		"ACQ-QUERY-004": {
			ES: "La consulta tardó más de lo permitido. Pide menos: limita las particiones (dt) o las columnas.",
			EN: "The query took longer than it may. Ask for less: fewer partitions (dt) or columns.",
		},
		"ACQ-QUERY-005": {
			ES: "La consulta necesita más memoria de la permitida. Pide menos, o agrupa antes de ordenar.",
			EN: "The query needs more memory than it may use. Ask for less, or group before you sort.",
		},
		"ACQ-QUERY-006": {
			ES: "El lago no se puede abrir. Comprueba que sus archivos se pueden leer.",
			EN: "The lake cannot be opened. Check that its files can be read.",
		},
		"ACQ-QUERY-007": {
			ES: "No hay ninguna consulta guardada con ese nombre.", EN: "There is no saved query of that name.",
		},
	}
)

func textsFor(lang string) *texts {
	if lang == "es" {
		return &spanish
	}
	return &english
}
