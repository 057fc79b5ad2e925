#![no_main]
//! What the scan accepts is JSON to everyone, with the same values.
use iris::wire::json;
use serde_json::Value;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let keys = ["model", "stream"];
    let Ok(fields) = json::scan(data, &keys) else {
        return;
    };
    let value: Value = serde_json::from_slice(data).expect("accepted, so JSON");
    for (nth, key) in keys.iter().enumerate() {
        let ours = fields
            .get(nth)
            .map(|at| serde_json::from_slice::<Value>(&data[at]).expect("a value"));
        assert_eq!(ours.as_ref(), value.get(key));
        if let Some(at) = fields.get(nth) {
            let text = json::string(&data[at]);
            assert_eq!(text.as_deref(), value[key].as_str());
        }
    }
});
