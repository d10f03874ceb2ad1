use super::*;

struct Upper;

impl Functions for Upper {
    fn knows(&self, name: &str) -> bool {
        name == "upper"
    }

    fn call(&self, name: &str, args: &[Value]) -> Result<Value, String> {
        match args {
            [Value::Text(text)] => Ok(Value::from(text.to_uppercase())),
            _ => Err(format!("{name} wants a text")),
        }
    }

    fn method(&self, on: &Value, name: &str, _: &[Value]) -> Option<Result<Value, String>> {
        match (on, name) {
            (Value::Map(map), "Names") => Some(Ok(Value::list(
                map.keys().map(|key| Value::text(key)).collect(),
            ))),
            _ => None,
        }
    }
}

fn data() -> Value {
    Value::record(
        "data",
        [
            ("Labels", Value::map([("job", "api"), ("zone", "eu")])),
            ("Value", Value::Float(1.5)),
            ("Count", Value::Int(3)),
            (
                "Items",
                Value::list(vec![Value::text("a"), Value::text("b")]),
            ),
            ("None", Value::list(vec![])),
            (
                "At",
                Value::time("2026-01-02T03:04:05.6Z".parse().expect("a time")),
            ),
        ],
    )
}

fn expand(text: &str) -> Result<String, String> {
    let template = Template::parse("t", text).map_err(|error| error.to_string())?;
    template
        .execute(&data(), &Upper)
        .map_err(|error| error.to_string())
}

#[test]
fn templates_expand_as_gos_do() {
    for (text, expected) in [
        ("plain", "plain"),
        ("{{ .Labels.job }}", "api"),
        ("{{ .Labels.missing }}!", "!"),
        ("{{ .Value }} {{ .Count }}", "1.5 3"),
        ("{{ $x := .Count }}{{ $x }}{{ $x = 4 }}{{ $x }}", "34"),
        (
            "{{ if eq .Labels.job \"api\" \"web\" }}y{{ else }}n{{ end }}",
            "y",
        ),
        (
            "{{ if false }}a{{ else if gt .Value 1.0 }}b{{ else }}c{{ end }}",
            "b",
        ),
        ("{{ range .Items }}<{{ . }}>{{ end }}", "<a><b>"),
        (
            "{{ range $i, $x := .Items }}{{ $i }}{{ $x }}{{ end }}",
            "0a1b",
        ),
        ("{{ range .None }}x{{ else }}none{{ end }}", "none"),
        (
            "{{ range $k, $v := .Labels }}{{ $k }}={{ $v }};{{ end }}",
            "job=api;zone=eu;",
        ),
        (
            "{{ range .Items }}{{ if eq . \"b\" }}{{ break }}{{ end }}{{ . }}{{ end }}",
            "a",
        ),
        (
            "{{ range .Items }}{{ if eq . \"a\" }}{{ continue }}{{ end }}{{ . }}{{ end }}",
            "b",
        ),
        ("{{ with .Labels }}{{ .zone }}{{ end }}", "eu"),
        ("{{ with .None }}x{{ else }}y{{ end }}", "y"),
        (
            "{{ define \"t\" }}[{{ . }}]{{ end }}{{ template \"t\" .Count }}",
            "[3]",
        ),
        ("{{ block \"b\" .Count }}<{{ . }}>{{ end }}", "<3>"),
        ("a {{- /* gone */ -}} b", "ab"),
        ("a  {{- .Count -}}  b", "a3b"),
        (
            "{{ .Labels.job | upper | printf \"%s-%d\" \"x\" }}",
            "x-%!d(string=API)",
        ),
        (
            "{{ printf \"%.2f|%5d|%-4s|%04d|%q|%v|%g\" .Value .Count \"a\" 7 \"q\" .Items 1e21 }}",
            "1.50|    3|a   |0007|\"q\"|[a b]|1e+21",
        ),
        ("{{ printf \"%d %s\" 1 }}", "1 %!s(MISSING)"),
        ("{{ print 1 2 \"a\" 3 }}", "1 2a3"),
        (
            "{{ len .Items }}{{ index .Items 1 }}{{ index .Labels \"job\" }}",
            "2bapi",
        ),
        ("{{ slice \"abcd\" 1 3 }}", "bc"),
        ("{{ and 1 0 2 }}{{ or 0 \"x\" }}{{ not true }}", "0xfalse"),
        ("{{ (index .Items 0) | upper }}", "A"),
        ("{{ .Labels.Names }}", "[job zone]"),
        (
            "{{ html \"<a>\" }}{{ urlquery \"a b&\" }}",
            "&lt;a&gt;a+b%26",
        ),
        (
            "{{ `raw \"text\"` }}{{ \"\\u00e9\\t|\" }}{{ 'a' }}{{ 0x10 }}",
            "raw \"text\"é\t|9716",
        ),
        (
            "{{ .At.Format \"2006-01-02 15:04:05.000 MST Mon _2 Jan\" }}",
            "2026-01-02 03:04:05.600 UTC Fri  2 Jan",
        ),
        (
            "{{ .At.Unix }} {{ .At }}",
            "1767323045 2026-01-02 03:04:05.6 +0000 UTC",
        ),
        ("{{ .Labels }}", "map[job:api zone:eu]"),
        ("{{ nil | printf \"%v\" }}", "<no value>"),
        ("{{ range 3 }}{{ . }}{{ end }}", "012"),
    ] {
        assert_eq!(expand(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    for (text, expected) in [
        ("a\n{{ .x", "template: t:2: unclosed action"),
        (
            "{{ nosuch }}",
            "template: t:1: function \"nosuch\" not defined",
        ),
        ("{{ if }}x{{ end }}", "template: t:1: missing value for if"),
        ("{{ if true }}x", "template: t:1: unexpected EOF"),
        ("{{ end }}", "template: t:1: unexpected {{end}}"),
        ("{{ $x }}", "template: t:1: undefined variable \"$x\""),
        ("{{ break }}", "template: t:1: {{break}} outside {{range}}"),
        (
            "{{ .Nope }}",
            "template: t:1: executing \"t\": can't evaluate field Nope in type data",
        ),
        (
            "\n{{ eq .Value 1 }}",
            "template: t:2: executing \"t\": error calling eq: incompatible types for comparison",
        ),
        (
            "{{ define \"r\" }}{{ template \"r\" }}{{ end }}{{ template \"r\" }}",
            "template: t:1: executing \"t\": exceeded maximum template depth (100)",
        ),
    ] {
        assert_eq!(expand(text), Err(expected.to_owned()), "{text}");
    }
}

#[test]
fn durations_print_as_gos_do() {
    for (nanoseconds, expected) in [
        (0, "0s"),
        (1, "1ns"),
        (1_500, "1.5µs"),
        (2_000_000, "2ms"),
        (1_100_000_000, "1.1s"),
        (61_000_000_000, "1m1s"),
        (3_600_000_000_000, "1h0m0s"),
        (-5_400_000_000_000, "-1h30m0s"),
    ] {
        assert_eq!(Value::Duration(nanoseconds).to_string(), expected);
    }
}

#[test]
fn significant_digits_print_as_gos_do() {
    for (value, expected) in [
        (0.0, "0"),
        (1234.0, "1234"),
        (12345.0, "1.234e+04"),
        (0.00001234, "1.234e-05"),
        (0.12345, "0.1235"),
        (1.5, "1.5"),
        (999.96, "1000"),
        (f64::NAN, "NaN"),
    ] {
        assert_eq!(significant(value, 4), expected);
    }
}
