use super::*;
use proptest::prelude::*;

/// The one document of `text` as JSON, or the error with its place.
fn value(text: &str) -> String {
    match read(text) {
        Ok(documents) => documents
            .iter()
            .map(|d| d.to_json().to_string())
            .collect::<Vec<_>>()
            .join(" --- "),
        Err(e) => format!("{}: {}", e.at, e.message),
    }
}

#[test]
fn scalars_mean_what_a_kubelet_reads() {
    for (text, json) in [
        (
            "a: [yes, Off, y, N, true]",
            r#"{"a":[true,false,true,false,true]}"#,
        ),
        ("a: [0644, 0o17, 0x1f, -3]", r#"{"a":[420,15,31,-3]}"#),
        (r#"a: ["yes", '0644', "~"]"#, r#"{"a":["yes","0644","~"]}"#),
        ("a: [~, null, ]", r#"{"a":[null,null]}"#),
        (
            "a: [1.5, 2024-01-01, 12:30:45, 100m]",
            r#"{"a":[1.5,"2024-01-01","12:30:45","100m"]}"#,
        ),
        ("80: x\ntrue: z", r#"{"80":"x","true":"z"}"#),
        ("a: |\n  x\n  y\nb: >-\n  z", r#"{"a":"x\ny\n","b":"z"}"#),
        ("a: &x [1]\nb: *x", r#"{"a":[1],"b":[1]}"#),
        (
            "a: &x {p: 1}\nb:\n  <<: *x\n  q: 2",
            r#"{"a":{"p":1},"b":{"p":1,"q":2}}"#,
        ),
        (
            "a: 1\n---\n# nothing\n---\nb: 2\n",
            r#"{"a":1} --- {"b":2}"#,
        ),
        ("{\"a\":\t\"\\u00e4\\/\"}", r#"{"a":"ä/"}"#),
        ("", ""),
        ("# only a comment\n", ""),
    ] {
        assert_eq!(value(text), json, "{text:?}");
    }
}

#[test]
fn what_is_not_yaml_is_refused_with_its_place() {
    for (text, error) in [
        (
            "a: 1\nb: 2\na: 3\n",
            "3:1: duplicate mapping key: a not allowed here",
        ),
        (
            "1: x\n\"1\": y\n",
            "2:1: duplicate mapping key: 1 not allowed here",
        ),
        ("a: [1\nb", "1:4: unclosed bracket '['"),
        (
            "a:\n  b: c: d",
            "2:7: mapping values are not allowed in this context",
        ),
        ("a: 'x", "1:4: unclosed quote"),
        ("a: *nope", "1:4: reference to unknown value"),
    ] {
        assert_eq!(value(text), error, "{text:?}");
    }
    for text in [
        "a: .inf",
        "a: !foo x",
        "? [a]\n: x",
        "a: \"\\q\"",
        "null: 1",
    ] {
        assert!(read(text).is_err(), "{text:?}");
    }
}

#[test]
fn bombs_are_refused_before_they_go_off() {
    let mut aliases = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for i in 1..12 {
        let inner = vec![format!("*a{}", i - 1); 9].join(", ");
        aliases += &format!("a{i}: &a{i} [{inner}]\n");
    }
    assert!(read(&aliases).is_err(), "nested aliases");
    assert!(read(&"[".repeat(10_000)).is_err(), "deep flow lists");
    assert!(read(&"- ".repeat(10_000)).is_err(), "deep block lists");
    assert!(read(&"---\na: 1\n".repeat(5_000)).is_err(), "documents");
    assert!(read(&"- x\n".repeat(200_000)).is_err(), "nodes");
}

#[test]
fn a_path_leads_to_the_line_of_its_key_or_as_far_as_there_is_one() {
    let text = "metadata:\n  labels:\n    a.b/c: 1\nspec:\n  containers:\n  - name: x\n    probe:\n      get: 1\n  - name: y\n";
    let document = read(text).map(|d| d[0].clone());
    let document = document.as_ref().map_err(|e| e.clone());
    for (path, place) in [
        ("spec", "4:1"),
        ("spec.containers[0].probe", "7:5"),
        ("spec.containers[0].probe.get", "8:7"),
        ("spec.containers[1]", "9:5"),
        ("spec.containers[1].image", "9:5"),
        ("spec.containers[7].image", "5:3"),
        ("metadata.labels[a.b/c]", "3:5"),
        ("metadata.labels[", "2:3"),
        ("nowhere.at.all", "1:1"),
        ("", "1:1"),
    ] {
        assert_eq!(
            document.as_ref().map(|d| d.locate(path).to_string()),
            Ok(place.to_owned()),
            "{path}"
        );
    }
}

#[test]
fn a_misspelt_name_is_guessed_and_a_strange_one_is_not() {
    let names = [
        "restartPolicy",
        "image",
        "imagePullPolicy",
        "name",
        "env",
        "tty",
    ];
    for (word, guess) in [
        ("restartPolicyy", Some("restartPolicy")),
        ("imagePullpolicy", Some("imagePullPolicy")),
        ("iamge", Some("image")),
        ("nam", Some("name")),
        ("evn", Some("env")),
        ("tyt", Some("tty")),
        ("flavour", None),
        ("x", None),
        ("", None),
    ] {
        assert_eq!(nearest(word, names), guess, "{word}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}|[-:{}\\[\\],&*!|>'\"%@` \\n\\ta-c0-9#]{0,200}") {
        if let Ok(documents) = read(&text) {
            for document in documents {
                document.locate(&text);
                document.to_json();
            }
        }
    }
}
