//! Bill of materials (CycloneDX 1.5): the crates in the binary, with versions and licences.

use anyhow::Result;
use serde_json::{Value, json};

use super::parts::Part;
use super::{LICENCE, NAME, Release, sha256};

/// Writes the bill, without date or random number: the same binary gives the same bill.
pub(super) fn write(parts: &[Part], release: &Release, program: &[u8]) -> Result<String> {
    let sum = sha256(program);
    let bill = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": format!("urn:uuid:{}", uuid(&sum)),
        "version": 1,
        "metadata": {"component": {
            "type": "application", "bom-ref": NAME, "name": NAME, "version": release.version,
            "licenses": [{"expression": LICENCE}], "hashes": [{"alg": "SHA-256", "content": sum}],
        }},
        "components": parts.iter().filter(|part| part.is_foreign()).map(component).collect::<Vec<_>>(),
    });
    Ok(serde_json::to_string_pretty(&bill)? + "\n")
}

fn component(part: &Part) -> Value {
    json!({
        "type": "library",
        "bom-ref": part.purl(),
        "name": part.name,
        "version": part.version,
        "purl": part.purl(),
        "licenses": [{"expression": part.licence}],
        "hashes": [{"alg": "SHA-256", "content": part.checksum}],
    })
}

/// Makes a UUID of version 8, whose bits are the maker's own choice, from a hexadecimal sum.
fn uuid(sum: &str) -> String {
    format!("{}-{}-8{}-8{}-{}", &sum[..8], &sum[8..12], &sum[13..16], &sum[17..20], &sum[20..32])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_crate_is_named_with_its_licence_and_sum() {
        let part = Part {
            name: "aya".to_owned(),
            version: "0.14.0".to_owned(),
            licence: "MIT OR Apache-2.0".to_owned(),
            checksum: Some("ff".to_owned()),
            folder: "aya".into(),
        };
        let own = Part { name: "netqueue-common".to_owned(), checksum: None, ..part.clone() };
        let release = Release { version: "1.0.0".to_owned(), number: 1, date: 0 };
        let bill: Value = serde_json::from_str(&write(&[part, own], &release, b"binary").unwrap()).unwrap();
        assert_eq!(bill["components"].as_array().map(Vec::len), Some(1));
        assert_eq!(bill["components"][0]["purl"], "pkg:cargo/aya@0.14.0");
        assert_eq!(bill["components"][0]["hashes"][0]["content"], "ff");
        let serial = bill["serialNumber"].as_str().unwrap();
        assert_eq!(serial.len(), "urn:uuid:".len() + 36, "{serial}");
    }
}
