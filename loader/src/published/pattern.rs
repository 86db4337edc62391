//! The lists' grammar. A line is `DTYPE SHAPE PATTERN`. A shape is sizes joined by `x`, or
//! `scalar`. A pattern stands for every combination of its braces: `{a,b}` is either word,
//! `{0..59}` any number in that range, ends included.

use crate::element::ElementType;
use crate::published::TensorSpec;

/// The tensors of a list, or `None` if it does not follow the grammar.
pub(super) fn tensors(list: &str) -> Option<Vec<TensorSpec>> {
    let mut tensors = Vec::new();
    for line in list.lines() {
        let mut fields = line.splitn(3, ' ');
        let dtype = dtype(fields.next()?)?;
        let shape = shape(fields.next()?)?;
        let keys = expand(fields.next()?)?.into_iter();
        tensors.extend(keys.map(|key| TensorSpec {
            key,
            dtype,
            shape: shape.clone(),
        }));
    }
    Some(tensors)
}

/// The dtypes of published files, by their names in the format.
fn dtype(name: &str) -> Option<ElementType> {
    [ElementType::F8E4M3, ElementType::BF16, ElementType::F32]
        .into_iter()
        .find(|dtype| dtype.name() == name)
}

fn shape(text: &str) -> Option<Vec<usize>> {
    match text {
        "scalar" => Some(Vec::new()),
        sizes => sizes.split('x').map(|size| size.parse().ok()).collect(),
    }
}

/// All keys that a pattern stands for.
fn expand(pattern: &str) -> Option<Vec<String>> {
    let Some((before, rest)) = pattern.split_once('{') else {
        return Some(vec![pattern.to_owned()]);
    };
    let (choice, after) = rest.split_once('}')?;
    let words: Vec<String> = match choice.split_once("..") {
        Some((first, last)) => {
            let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
            (first..=last).map(|number| number.to_string()).collect()
        }
        None => choice.split(',').map(str::to_owned).collect(),
    };
    let tails = expand(after)?;
    let keys = words.iter().flat_map(|word| {
        tails
            .iter()
            .map(move |tail| format!("{before}{word}{tail}"))
    });
    Some(keys.collect())
}

#[cfg(test)]
mod tests {
    use super::{expand, tensors};
    use crate::element::ElementType;

    #[test]
    fn a_pattern_is_the_product_of_its_braces() {
        let keys = expand("a.{0..2}.{x,y}");
        let expected = ["a.0.x", "a.0.y", "a.1.x", "a.1.y", "a.2.x", "a.2.y"];
        assert_eq!(keys, Some(expected.map(str::to_owned).to_vec()));
        assert_eq!(expand("a.b"), Some(vec!["a.b".to_owned()]));
    }

    #[test]
    fn a_line_is_dtype_shape_and_keys() {
        let tensors = tensors("BF16 96x3x1 {a,b}.weight\nF32 scalar s\nF8_E4M3 0 m\n");
        let found: Vec<_> = tensors.into_iter().flatten().collect();
        let found: Vec<_> = found
            .iter()
            .map(|tensor| (tensor.key.as_str(), tensor.dtype, tensor.shape.as_slice()))
            .collect();
        assert_eq!(
            found,
            [
                ("a.weight", ElementType::BF16, [96, 3, 1].as_slice()),
                ("b.weight", ElementType::BF16, &[96, 3, 1]),
                ("s", ElementType::F32, &[]),
                ("m", ElementType::F8E4M3, &[0]),
            ]
        );
    }

    #[test]
    fn what_breaks_the_grammar_is_refused() {
        for list in [
            "BF16 96",
            "BF17 96 a",
            "BF16 96x a",
            "BF16 96 a.{0..2",
            "BF16 96 a.{0..x}",
        ] {
            assert_eq!(tensors(list), None, "{list}");
        }
    }
}
