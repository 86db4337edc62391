//! The JSON text of a header, read without trusting it.
//!
//! `serde_json` into a map would silently keep the last of two equal keys, and into `Vec`s would
//! allocate as much as the text asks for. These visitors stop at the first thing that is wrong.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;

use super::{HeaderError, MAX_RANK};
use crate::element::ElementType;
use crate::text::Excerpt;

/// A tensor as the header states it, not yet checked against anything.
pub(super) struct RawTensor {
    pub(super) key: String,
    pub(super) dtype: ElementType,
    pub(super) shape: Vec<usize>,
    pub(super) offsets: [u64; 2],
}

/// The header's contents in the order of the text.
#[derive(Default)]
pub(super) struct RawHeader {
    pub(super) tensors: Vec<RawTensor>,
    pub(super) metadata: BTreeMap<String, String>,
}

/// Reads the header text.
pub(super) fn parse(json: &[u8]) -> Result<RawHeader, HeaderError> {
    let text = std::str::from_utf8(json).map_err(|_| HeaderError::NotUtf8)?;
    let fault = Fault::default();
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let header = HeaderVisitor { fault: &fault };
    let result = deserializer
        .deserialize_map(header)
        .and_then(|header| deserializer.end().map(|()| header));
    result.map_err(|error| fault.explain(&error))
}

/// Carries a typed error past serde, whose own errors are text.
#[derive(Default)]
struct Fault(RefCell<Option<HeaderError>>);

impl Fault {
    fn raise<E: Error>(&self, fault: HeaderError) -> E {
        let error = E::custom("invalid header");
        self.0.replace(Some(fault));
        error
    }

    fn explain(&self, error: &serde_json::Error) -> HeaderError {
        if let Some(fault) = self.0.take() {
            return fault;
        }
        let message = Excerpt::new(&error.to_string());
        match error.classify() {
            Category::Data => HeaderError::Malformed { message },
            Category::Syntax | Category::Eof | Category::Io => HeaderError::NotJson { message },
        }
    }
}

struct HeaderVisitor<'a> {
    fault: &'a Fault,
}

impl<'de> Visitor<'de> for HeaderVisitor<'_> {
    type Value = RawHeader;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
        let mut header = RawHeader::default();
        let mut metadata_seen = false;
        while let Some(key) = map.next_key::<String>()? {
            if key != "__metadata__" {
                let tensor = TensorSeed {
                    key,
                    fault: self.fault,
                };
                header.tensors.push(map.next_value_seed(tensor)?);
            } else if std::mem::replace(&mut metadata_seen, true) {
                let key = Excerpt::new(&key);
                return Err(self.fault.raise(HeaderError::DuplicateKey { key }));
            } else {
                header.metadata = map.next_value_seed(MetadataSeed { fault: self.fault })?;
            }
        }
        Ok(header)
    }
}

struct MetadataSeed<'a> {
    fault: &'a Fault,
}

impl<'de> DeserializeSeed<'de> for MetadataSeed<'_> {
    type Value = BTreeMap<String, String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for MetadataSeed<'_> {
    type Value = BTreeMap<String, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of texts as __metadata__")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut metadata = BTreeMap::new();
        while let Some(key) = map.next_key::<String>()? {
            let shown = Excerpt::new(&key);
            match metadata.entry(key) {
                Entry::Occupied(_) => {
                    return Err(self.fault.raise(HeaderError::DuplicateKey { key: shown }));
                }
                Entry::Vacant(slot) => {
                    slot.insert(map.next_value_seed(TextSeed { key: &shown })?);
                }
            }
        }
        Ok(metadata)
    }
}

/// The text of one metadata entry.
struct TextSeed<'a> {
    key: &'a Excerpt,
}

impl<'de> DeserializeSeed<'de> for TextSeed<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_string(self)
    }
}

impl Visitor<'_> for TextSeed<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "text as metadata entry `{}`", self.key)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_string<E: Error>(self, text: String) -> Result<String, E> {
        Ok(text)
    }
}

struct TensorSeed<'a> {
    key: String,
    fault: &'a Fault,
}

impl TensorSeed<'_> {
    fn shown(&self) -> Excerpt {
        Excerpt::new(&self.key)
    }

    fn set<T, E: Error>(&self, slot: &mut Option<T>, field: &str, value: T) -> Result<(), E> {
        if slot.replace(value).is_none() {
            return Ok(());
        }
        let key = Excerpt::new(&format!("{}.{field}", self.key));
        Err(self.fault.raise(HeaderError::DuplicateKey { key }))
    }

    fn require<T, E: Error>(&self, slot: Option<T>, field: &'static str) -> Result<T, E> {
        let key = self.shown();
        slot.ok_or_else(|| self.fault.raise(HeaderError::MissingField { key, field }))
    }

    fn dtype<E: Error>(&self, name: &str) -> Result<ElementType, E> {
        ElementType::named(name).ok_or_else(|| {
            let (key, dtype) = (self.shown(), Excerpt::new(name));
            self.fault.raise(HeaderError::UnknownDtype { key, dtype })
        })
    }

    fn shape<E: Error>(&self, numbers: Numbers<MAX_RANK>) -> Result<Vec<usize>, E> {
        let Numbers(Some(dims)) = numbers else {
            let key = self.shown();
            return Err(self.fault.raise(HeaderError::RankTooHigh { key }));
        };
        let dims: Result<Vec<usize>, _> = dims.into_iter().map(usize::try_from).collect();
        dims.map_err(|_| {
            let key = self.shown();
            self.fault.raise(HeaderError::ShapeOverflow { key })
        })
    }

    fn offsets<E: Error>(&self, numbers: Numbers<2>) -> Result<[u64; 2], E> {
        let pair = numbers.0.and_then(|numbers| numbers.try_into().ok());
        pair.ok_or_else(|| {
            let key = self.shown();
            self.fault.raise(HeaderError::OffsetsNotAPair { key })
        })
    }
}

impl<'de> DeserializeSeed<'de> for TensorSeed<'_> {
    type Value = RawTensor;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<RawTensor, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for TensorSeed<'_> {
    type Value = RawTensor;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object as tensor `{}`", self.shown())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawTensor, A::Error> {
        let (mut dtype, mut shape, mut offsets) = (None, None, None);
        while let Some(field) = map.next_key::<String>()? {
            match field.as_str() {
                "dtype" => {
                    let value = self.dtype(&map.next_value::<String>()?)?;
                    self.set(&mut dtype, &field, value)?;
                }
                "shape" => {
                    let value = self.shape(map.next_value()?)?;
                    self.set(&mut shape, &field, value)?;
                }
                "data_offsets" => {
                    let value = self.offsets(map.next_value()?)?;
                    self.set(&mut offsets, &field, value)?;
                }
                // It may change what the others mean.
                _ => {
                    let (key, field) = (self.shown(), Excerpt::new(&field));
                    return Err(self.fault.raise(HeaderError::UnknownField { key, field }));
                }
            }
        }
        Ok(RawTensor {
            dtype: self.require(dtype, "dtype")?,
            shape: self.require(shape, "shape")?,
            offsets: self.require(offsets, "data_offsets")?,
            key: self.key,
        })
    }
}

/// At most `N` whole numbers; `None` if there are more, which are not kept.
struct Numbers<const N: usize>(Option<Vec<u64>>);

impl<'de, const N: usize> Deserialize<'de> for Numbers<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumbersVisitor<const N: usize>;

        impl<'de, const N: usize> Visitor<'de> for NumbersVisitor<N> {
            type Value = Numbers<N>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of whole numbers")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Numbers<N>, A::Error> {
                let mut numbers = Vec::new();
                while let Some(number) = seq.next_element::<u64>()? {
                    if numbers.len() == N {
                        // The rest must still be consumed for serde to be content.
                        while seq.next_element::<IgnoredAny>()?.is_some() {}
                        return Ok(Numbers(None));
                    }
                    numbers.push(number);
                }
                Ok(Numbers(Some(numbers)))
            }
        }

        deserializer.deserialize_seq(NumbersVisitor::<N>)
    }
}
