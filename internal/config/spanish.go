package config

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// In gives the problems in a language, "es" or "en". What a plugin says of its own values, and a parser of its own text,
// stays in English where no phrase is known for it.
func (p Problems) In(lang string) Problems {
	if lang != "es" {
		return p
	}
	say := Translation(lang)
	out := make(Problems, len(p))
	for i, one := range p {
		one.Message, one.Remedy = say(one.Message), say(one.Remedy)
		out[i] = one
	}
	return out
}

// Translation gives what says texts in a language, "es" or "en": those that no phrase is known for stay as they are.
func Translation(lang string) func(text string) string {
	if lang != "es" {
		return func(text string) string { return text }
	}
	return newPhrases().say
}

// phrase is a form of English texts, and how Spanish has it.
type phrase struct {
	english *regexp.Regexp
	spanish string
}

type phrases []phrase

func newPhrases() phrases {
	place := regexp.MustCompile(`\\\{\d\\\}`)
	all := slices.Concat(spanishOfCloud, spanishOfBackups, spanishOfJobs, spanishOfEnvironment, spanishOfPlugins, spanishOfPlaces, spanish, spanishOfLosses, spanishLast)
	out := make(phrases, len(all))
	for i, pair := range all {
		form := place.ReplaceAllString(regexp.QuoteMeta(pair[0]), "(.+?)")
		out[i] = phrase{regexp.MustCompile("^" + form + "$"), pair[1]}
	}
	return out
}

// say gives a text in Spanish: the first phrase that fits, or the text as it is.
func (p phrases) say(text string) string {
	for _, one := range p {
		found := one.english.FindStringSubmatch(text)
		if found == nil {
			continue
		}
		var places []string
		for i, part := range found[1:] {
			number := strconv.Itoa(i + 1)
			places = append(places, "{"+number+"}", part)
			if strings.Contains(one.spanish, "<"+number+">") {
				places = append(places, "<"+number+">", p.say(part))
			}
		}
		return strings.NewReplacer(places...).Replace(one.spanish)
	}
	return text
}

// spanish are the phrases, the special ones first. {1} stands for a part that is the same in both languages, <1> for one
// that is a phrase itself.
var spanish = [][2]string{ //nolint:gochecknoglobals // a constant table
	{`unknown key {1} in the file`, `clave desconocida {1} en el fichero`},
	{`unknown key {1} in {2}`, `clave desconocida {1} en <2>`},
	{`unknown source type {1}`, `no hay orígenes de tipo {1}`},
	{`unknown sink type {1}`, `no hay destinos de tipo {1}`},
	{`unknown step type {1}`, `no hay pasos de tipo {1}`},
	{`there is no source {1}`, `no hay ningún origen {1}`},
	{`there is no sink {1}`, `no hay ningún destino {1}`},
	{`there is no anchor {1} above`, `más arriba no hay ninguna ancla {1}`},
	{`there are no references of the kind {1}`, `no hay referencias de tipo {1}`},
	{`no pipeline uses {1}`, `ningún canal usa <1>`},
	{`the variable {1} is not set`, `la variable {1} no tiene valor`},
	{`{1} is no name of a variable`, `{1} no puede ser el nombre de una variable`},
	{`{1} is no name for a pipeline`, `{1} no puede ser el nombre de un canal`},
	{`{1} is no name for a source`, `{1} no puede ser el nombre de un origen`},
	{`{1} is no name for a sink`, `{1} no puede ser el nombre de un destino`},
	{`the key {1} stands twice, first in line {2}`, `la clave {1} está dos veces, la primera en la línea {2}`},
	{`{1} writes to sink {2} twice`, `<1> escribe dos veces en el destino {2}`},
	{`{1} stands in {2} too`, `<1> está también en {2}`},
	{`{1} differs from that in {2}`, `{1} no es lo mismo que en {2}`},
	{`the file is empty`, `el fichero está vacío`},
	{`the file has no version`, `el fichero no dice su versión (version)`},
	{`the file has {1} bytes, more than {2}`, `el fichero tiene {1} bytes, más de {2}`},
	{`the file has no {1}`, `al fichero le falta {1}`},
	{`{1}: the password stands in clear text`, `{1}: la contraseña está a la vista`},
	{`{1} stands in clear text`, `{1} está a la vista`},
	{`a second document begins here`, `aquí empieza un segundo documento`},
	{`this is no text in UTF-8`, `esto no es texto en UTF-8`},
	{`a tab stands where a value or spaces must`, `hay un tabulador donde debe haber un valor o espacios`},
	{`more than {1} brackets or dashes are open here`, `aquí hay más de {1} paréntesis o guiones abiertos`},
	{`mapping value is not allowed in this context`, `aquí no puede haber un valor con dos puntos`},
	{`sequence end token ']' not found`, `falta el corchete ] que cierra la lista`},
	{`could not find end character of {1}`, `las comillas no se cierran`},
	{`',' or '}' must be specified`, `falta una coma o la llave } que cierra`},
	{`the tag {1} is not understood`, `la etiqueta {1} no se entiende`},
	{`the reference that begins here does not end`, `la referencia que empieza aquí no termina`},
	{`{1} stands for a whole value, not for a part of one`, `{1} vale por un valor entero, no por una parte`},
	{`version {1} is not known`, `la versión {1} no se conoce`},
	{`a key is text, found {1}`, `una clave es texto, y aquí hay <1>`},
	{`aliases make more than {1} values of the file`, `los alias hacen más de {1} valores del fichero`},
	{`{1}: want {2}, found {3}`, `<1>: se espera <2>, y hay <3>`},
	{`want {1}, found {2}`, `se espera <1>, y hay <2>`},
	{`{1}: a step has one key, its type`, `{1}: un paso tiene una sola clave, su tipo`},
	{`{1} has no value`, `{1} no tiene valor`},
	{`{1} has no column {2}`, `{1} no tiene la columna {2}`},
	{`{1} has no sink`, `<1> no tiene destino`},
	{`{1} has no {2}`, `<1> no tiene {2}`},
	{`{1} is empty`, `<1> está vacío`},
	{`retry: max is at least 0`, `retry: max es 0 o más`},
	{`write a path, file:///dir, or s3://bucket/prefix`, `escribe una ruta, file:///dir, o s3://bucket/prefijo`},
	{`write url: s3://bucket/prefix, or leave it out`, `escribe url: s3://bucket/prefijo, o quítalo`},
	{`{1} is of backups at s3://`, `{1} solo vale para copias en s3://`},
	{`{1}: {2} is neither s3, kms nor the ARN of a key`, `{1}: {2} no es s3, ni kms, ni el ARN de una clave`},
	{`{1}: {2} is no account: it has twelve digits`, `{1}: {2} no es una cuenta: tiene doce cifras`},
	{`reports: {1} is no place for reports`, `reports: {1} no es un sitio para informes`},
	{`url: {1} is no place for backups`, `url: {1} no es un sitio para copias de seguridad`},
	{`{1} is at least 0`, `{1} es 0 o más`},
	{`write 0 to keep none by this rule`, `escribe 0 para no guardar ninguna por esta regla`},
	{`retry: longest is less than initial, {1}`, `retry: longest es menos que initial, {1}`},
	{`retry: initial is more than longest, {1}`, `retry: initial es más que longest, {1}`},
	{`stat {1}: no such file or directory`, `no existe el fichero {1}`},
	{`open {1}: no such file or directory`, `no existe el fichero {1}`},
	{`there is no column {1} (did you mean {2}?)`, `no existe la columna {1} (¿quizá {2}?)`},
	{`there is no column {1}`, `no existe la columna {1}`},
	{`there is no function {1}`, `no existe la función {1}`},
	{`pipeline {1}: {2}`, `el canal {1}: <2>`},
	{`source {1}: {2}`, `el origen {1}: <2>`},
	{`sink {1}: {2}`, `el destino {1}: <2>`},
	{`step {1}: {2}`, `el paso {1}: <2>`},
	{
		`a form answers when its items are durable: its pipeline has one items sink; feed a lake from the items' changes`,
		`un formulario responde cuando sus items están a salvo: su canal tiene un solo destino, de tipo items; un lago se alimenta de los cambios de los items`,
	},
	{
		`a form's record is kept as it was answered: put steps into the pipeline that reads the items' changes`,
		`el registro de un formulario se guarda tal como se respondió: pon los pasos en el canal que lee los cambios de los items`,
	},
	{`the form of {1} feeds pipeline {2} already`, `el formulario de {1} alimenta ya el canal {2}`},
	{`a form reads its items where it wrote them: the table must be called {1}`, `un formulario lee sus items donde los escribió: la tabla debe llamarse {1}`},
	{
		`no pipeline here feeds the changes of an items table {1}, so its columns are not known`,
		`ningún canal de aquí alimenta los cambios de una tabla de items {1}, y no se conocen sus columnas`,
	},
	{`the key of the items is missing`, `falta la clave (key) de los items`},

	{`did you mean {1}?`, `¿quizá {1}?`},
	{`known is {1}`, `hay {1}`},
	{`known are {1} and {2}`, `hay {1} y {2}`},
	{`known are {1}`, `hay {1}`},
	{`add {1}: ... ({2})`, `añade {1}: ...`},
	{`add {1}: ...`, `añade {1}: ...`},
	{`give it a value, or remove the key`, `dale un valor, o quita la clave`},
	{`give one of them another name`, `da a uno de ellos otro nombre`},
	{`set it in one file: it is of the whole process`, `ponlo en un solo fichero: vale para todo el proceso`},
	{`set it, or give a default: {1}`, `dale valor, o uno por defecto: {1}`},
	{`give the whole value by reference, or use {1} here`, `da el valor entero por referencia, o usa aquí {1}`},
	{`remove it, or name it in a pipeline`, `quítalo, o nómbralo en un canal`},
	{`remove it`, `quítalo`},
	{`keep one of them`, `deja una sola`},
	{`begin with version: 1`, `empieza con version: 1`},
	{`write at most 63 of a-z, 0-9, _ and -, a letter first`, `escribe como mucho 63 de a-z, 0-9, _ y -, con una letra delante`},
	{`write the unit, as in 5s`, `escribe la unidad, como en 5s`},
	{`write the path of a file that this user may read`, `escribe la ruta de un fichero que este usuario pueda leer`},
	{`write the name of a source`, `escribe el nombre de un origen`},
	{`write the name of a sink`, `escribe el nombre de un destino`},
	{`the units are {1} and {2}`, `las unidades son {1} y {2}`},
	{`write it without leading zeros`, `escríbelo sin ceros delante`},
	{`write it out, or use fewer aliases`, `escríbelo entero, o usa menos alias`},
	{`write an alias of a mapping, such as {1}`, `escribe un alias de un grupo de claves, como {1}`},
	{`write a name`, `escribe un nombre`},
	{`write {1} in its place, or give the whole value as {2}`, `escribe {1} en su lugar, o da el valor entero con {2}`},
	{`write {1}; {2} stands for the characters themselves`, `escribe {1}; {2} vale por los propios caracteres`},
	{`write {1}, or {2}`, `escribe {1}, o {2}`},
	{`write {1}`, `escribe {1}`},
	{
		`put the value in quotes when it holds such characters, or look at the indentation`,
		`pon el valor entre comillas si lleva esos caracteres, o mira la sangría`,
	},
	{`put it into a file of its own`, `ponlo en un fichero aparte`},
	{`inside { } and [ ] a reference stands in quotes, as in {1}`, `dentro de { } y [ ] una referencia va entre comillas, como en {1}`},
	{`indent with spaces`, `sangra con espacios`},
	{`close the quote`, `cierra las comillas`},
	{`close it with }, or write {1} for the characters themselves`, `ciérrala con }, o escribe {1} para los propios caracteres`},
	{`begin an item of the list, - {1}: ..., for each step`, `empieza un elemento de la lista, - {1}: ..., para cada paso`},
	{`name it once`, `nómbralo una vez`},
	{`name a sink`, `nombra un destino`},
	{`it is at most {1}`, `es como mucho {1}`},
	{`split it`, `divídelo`},
	{`save the file as UTF-8`, `guarda el fichero en UTF-8`},
	{`a default is written {1}`, `un valor por defecto se escribe {1}`},
	{
		`declare its columns with schema and key, or name a table that is fed here: {1}`,
		`declara sus columnas con schema y key, o nombra una tabla que se alimente aquí: {1}`,
	},
	{`declare its columns with schema and key`, `declara sus columnas con schema y key`},
	{`declare it under {1}`, `decláralo en {1}`},

	{`a mapping of version, sources, sinks and pipelines`, `un grupo de claves: version, sources, sinks y pipelines`},
	{`a mapping of from, steps and to`, `un grupo de claves: from, steps y to`},
	{`a mapping of names to values`, `nombres con sus valores`},
	{`a mapping with one key, the type of the step`, `una sola clave, el tipo del paso`},
	{`a mapping with one key`, `una sola clave`},
	{`a mapping with a type`, `un grupo de claves con su tipo (type)`},
	{`a list of mappings, each with one key`, `una lista de pasos, cada uno con una sola clave`},
	{`a mapping`, `un grupo de claves`},
	{`a list`, `una lista`},
	{`text`, `texto`},
	{`nothing`, `nada`},
	{`true or false`, `true o false`},
	{`a whole number from 0`, `un número entero desde 0`},
	{`a whole number`, `un número entero`},
	{`a number`, `un número`},
	{`a duration such as {1}`, `una duración como {1}`},
	{`a size such as {1}`, `un tamaño como {1}`},
	{`a share such as {1} or {2}`, `una parte como {1} o {2}`},
	{`the name of a source type`, `el nombre de un tipo de origen`},
	{`the name of a sink type`, `el nombre de un tipo de destino`},
	{`the name of a source`, `el nombre de un origen`},
	{`the name of a sink`, `el nombre de un destino`},
	{`what {1} stands for`, `lo que vale {1}`},
	{`source {1}`, `el origen {1}`},
	{`sink {1}`, `el destino {1}`},
	{`step {1}`, `el paso {1}`},
	{`pipeline {1}`, `el canal {1}`},
	{`the file`, `el fichero`},
}
