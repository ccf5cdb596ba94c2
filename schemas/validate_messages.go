package schemas

import "strings"

// messages says each code to people; * stands for the limit.
//
//nolint:gochecknoglobals // a constant table
var messages = map[Code]Text{
	Required:      {"fill in this field", "rellena este campo"},
	WrongType:     {"the value is of the wrong type: want *", "el valor es de otro tipo: se espera *"},
	TooShort:      {"write at least * characters", "escribe al menos * caracteres"},
	TooLong:       {"write at most * characters", "escribe como mucho * caracteres"},
	TooSmall:      {"write a number of at least *", "escribe un número no menor que *"},
	TooLarge:      {"write a number of at most *", "escribe un número no mayor que *"},
	NotAnOption:   {"choose one of the options", "elige una de las opciones"},
	NotANumber:    {"write a number in digits, nothing else", "escribe un número con cifras, nada más"},
	TooPrecise:    {"write at most * digits after the point", "escribe como mucho * cifras decimales"},
	TooManyDigits: {"write at most * digits before the point", "escribe como mucho * cifras enteras"},
	NotADate:      {"write a date as 2026-11-24", "escribe una fecha como 2026-11-24"},
	BadText:       {"the text holds characters that cannot be kept", "el texto tiene caracteres que no se pueden guardar"},
	UnknownField:  {"this field cannot be sent", "este campo no se puede enviar"},
	SentTwice:     {"this field was sent twice", "este campo se envió dos veces"},
}

// Message says a problem to people, in "es" or "en", without the name of the field.
func (t *Table) Message(p Problem, lang string) string {
	code := p.Code
	text := messages[code]
	if code == Required && p.Field >= 0 && len(t.Fields[p.Field].Options) > 0 {
		text = messages[NotAnOption]
	}
	return strings.Replace(text.In(lang), "*", p.Limit, 1)
}
