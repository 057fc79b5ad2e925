#![no_main]
//! A configuration is read, or refused with a place.
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match iris::config::parse(text, &|_| Some(String::new())) {
        Ok(loaded) => drop(iris::rules::Rules::compile(loaded, 1)),
        Err(findings) => assert!(!findings.is_empty()),
    }
});
