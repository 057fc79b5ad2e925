#![no_main]
//! A configuration is read, or refused with a place; and what is shown of it comes back as it was.
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(shown) = iris::config::redacted(text)
        && !text.contains(iris::config::PLACEHOLDER)
        && !text.contains("\\u")
    {
        let back = iris::config::restored(&shown, text, &|_| false);
        assert_eq!(back.as_deref(), Ok(text));
    }
    match iris::config::parse(text, &|_| Some(String::new())) {
        Ok(loaded) => drop(iris::exchange::rules::Rules::compile(loaded, 1)),
        Err(findings) => assert!(!findings.is_empty()),
    }
});
