//! The header parser on arbitrary bytes: it must not panic, must refuse what the safetensors crate
//! refuses, and what it accepts must cover the file exactly.
#![no_main]

use libfuzzer_sys::fuzz_target;
use loader::Header;
use safetensors::SafeTensors;

fuzz_target!(|file: &[u8]| {
    let header = match Header::from_bytes(file) {
        Ok(header) => header,
        Err(fault) => {
            // Messages of foreign text stay printable, and on one line.
            let message = fault.to_string();
            assert!(message.len() < 4096 && !message.contains(char::is_control));
            return;
        }
    };
    let theirs = SafeTensors::deserialize(file).expect("laxer than the safetensors crate");
    assert_eq!(header.tensors.len(), theirs.len());
    let mut at = header.data_start;
    for tensor in &header.tensors {
        assert_eq!(tensor.range.start, at);
        at = tensor.range.end;
        let theirs = theirs.tensor(&tensor.key).expect("a tensor of both");
        assert_eq!(theirs.dtype().to_string(), tensor.dtype.name());
        assert_eq!(theirs.shape(), tensor.shape);
        assert_eq!(theirs.data().len() as u64, tensor.bytes());
    }
    assert_eq!(at, file.len() as u64);
});
