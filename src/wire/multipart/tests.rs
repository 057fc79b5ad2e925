//! Forms that are read and changed, and those that are refused.

use super::*;

const KIND: &str = "multipart/form-data; boundary=X";

fn part(head: &str, body: &str) -> String {
    format!("--X\r\n{head}\r\n\r\n{body}\r\n")
}

fn model(form: &str) -> Result<Option<String>, FormError> {
    let found = scan(form.as_bytes(), KIND, &["model"])?;
    Ok(found[0].clone().map(|at| form[at].to_owned()))
}

#[test]
fn finds_a_field_among_others() {
    let file = part(
        "Content-Disposition: form-data; name=\"file\"; filename=\"a b.wav\"\r\nContent-Type: audio/wav",
        "RIFF\r\n-X\r\n\r\nmodel",
    );
    let field = part("content-disposition: form-data; name=\"model\"", "m");
    assert_eq!(
        model(&format!("{file}{field}--X--\r\n")).unwrap().unwrap(),
        "m"
    );
    assert_eq!(model(&format!("{file}--X--")).unwrap(), None);
    let quoted = scan(b"--X--", "multipart/form-data; boundary=\"X\"", &[]);
    assert!(quoted.is_ok());
    let named = scan(
        b"--X--",
        "multipart/form-data; charset=UTF-8; boundary=X",
        &[],
    );
    assert!(named.is_ok());
}

#[test]
fn what_parsers_read_differently_is_refused() {
    let field = part("Content-Disposition: form-data; name=\"model\"", "m");
    let end = "--X--\r\n";
    let whole = format!("{field}{end}");
    assert!(model(&whole).is_ok());
    for form in [
        format!("{field}{whole}"),
        format!("preamble\r\n{whole}"),
        format!("{whole}epilogue"),
        field.clone(),
        field.replace("\r\n", "\n") + end,
        format!("--X \r\n{}", &whole[5..]),
    ] {
        assert!(model(&form).is_err(), "{form:?}");
    }
    // The head of a part behind `Content-Disposition: form-data`, which stands for a model or beside one.
    for (head, is_beside) in [
        ("; name=\"Model\"", true),
        ("; name=\"model[]\"", true),
        ("; name=\"model[0]\"", true),
        ("; name=\"Model.name\"", true),
        ("; name=\"[model]\"", true),
        ("; name=\"_charset_\"", true),
        (
            "; name=\"prompt\"\r\nContent-Type: text/plain; charset=utf-7",
            true,
        ),
        ("; name=\"model\"; filename=\"m\"", false),
        ("; name=model", false),
        ("; name=\"mo\\del\"", false),
        ("; name=\"model\"; name=\"x\"", false),
        ("; name*=UTF-8''model", false),
        (
            "; name=\"model\"\r\nContent-Transfer-Encoding: base64",
            false,
        ),
        (";\r\n name=\"model\"", false),
        (
            "; name=\"model\"\r\nContent-Type: text/plain; charset=utf-16",
            false,
        ),
    ] {
        let odd = part(&format!("Content-Disposition: form-data{head}"), "x");
        let before = if is_beside { &field } else { "" };
        assert!(model(&format!("{before}{odd}{end}")).is_err(), "{head:?}");
    }
}

#[test]
fn types_that_name_no_boundary_or_another_character_set_are_refused() {
    for kind in [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=a b",
        "multipart/form-data; boundary=X; boundary=Y",
        "multipart/form-data; boundary=X; charset=utf-7",
        "multipart/form-data; boundary=X; boundary*=UTF-8''Y",
    ] {
        assert!(scan(b"--X--", kind, &[]).is_err(), "{kind}");
    }
}

/// The texts of the fields `model` as an independent parser reads them.
async fn independent(form: Vec<u8>, kind: &str) -> Result<Vec<String>, multer::Error> {
    let boundary = multer::parse_boundary(kind)?;
    let whole = futures_util::stream::iter([Ok::<_, std::convert::Infallible>(form)]);
    let mut form = multer::Multipart::new(whole, boundary);
    let mut models = Vec::new();
    while let Some(field) = form.next_field().await? {
        if field.name() == Some("model") {
            models.push(field.text().await?);
        }
    }
    Ok(models)
}

/// Forms put together from pieces that forms are made of, well and badly.
#[tokio::test]
async fn what_is_accepted_reads_the_same_elsewhere() {
    const PIECES: [&str; 24] = [
        "--X",
        "--X--",
        "\r\n",
        "\r\n",
        "\r\n\r\n",
        "\r\n--X\r\n",
        "\r\n--X--",
        "\r\n--X--\r\n",
        "\n",
        "\r",
        "-",
        "X",
        "m",
        "Content-Disposition: form-data; name=\"model\"",
        "Content-Disposition: form-data; name=\"model\"\r\n\r\n",
        "content-disposition:form-data;name=\"file\"; filename=\"a\"",
        "; filename=\"a\"",
        "Content-Disposition: form-data; name=\"other\"\r\n\r\nx",
        "Content-Type: text/plain",
        "\0",
        " ",
        "\"",
        "\u{e9}",
        ";",
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % bound as u64).unwrap()
    };
    let mut compared = 0;
    for _ in 0..60_000 {
        let mut form = format!(
            "--X\r\nContent-Disposition: form-data; name=\"{}\"\r\n\r\na\r\n--X\r\n\
             Content-Disposition: form-data; name=\"model\"\r\n\r\nm{}\r\n--X--\r\n",
            ["other", "model"][below(8) / 7],
            PIECES[below(PIECES.len())],
        )
        .into_bytes();
        for _ in 0..below(4) {
            let at = below(form.len() + 1);
            let upto = (at + below(12)).min(form.len());
            let piece = PIECES[below(PIECES.len())].bytes();
            match below(3) {
                0 => drop(form.splice(at..at, piece)),
                1 => drop(form.splice(at..upto, piece)),
                _ => drop(form.drain(at..upto)),
            }
        }
        let Ok(found) = scan(&form, KIND, &["model"]) else {
            continue;
        };
        let Ok(ours) = found[0]
            .clone()
            .map(|at| std::str::from_utf8(&form[at]))
            .transpose()
        else {
            continue;
        };
        let ours: Vec<String> = ours.map(str::to_owned).into_iter().collect();
        let shown = String::from_utf8_lossy(&form).into_owned();
        // It may refuse what we take; it must not read something else.
        if let Ok(theirs) = independent(form, KIND).await {
            compared += 1;
            assert_eq!(ours, theirs, "{shown:?}");
        }
    }
    assert!(compared > 5_000, "only {compared} were read by both");
}

#[test]
fn damaged_forms_do_no_harm() {
    let field = part("Content-Disposition: form-data; name=\"model\"", "m");
    let form = format!("{field}{field}--X--\r\n").into_bytes();
    for at in 0..form.len() {
        let _ = scan(&form[..at], KIND, &["model"]);
        let mut changed = form.clone();
        changed[at] ^= 0x20;
        let _ = scan(&changed, KIND, &["model"]);
    }
}
