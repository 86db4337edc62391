//! Adobe's metadata (XMP), of which one field is looked at: Draw Things writes its recipe there.

/// The text of the field `exif:UserComment`.
pub(super) fn user_comment(xmp: &str) -> Option<String> {
    let (_, after) = xmp.split_once("exif:UserComment")?;
    // As an attribute, or as an element with a list of one language's text in it.
    if let Some(value) = after.strip_prefix("=\"") {
        return Some(unescaped(value.split_once('"')?.0));
    }
    let (element, _) = after.split_once("</exif:UserComment")?;
    let text = match element.split_once("<rdf:li") {
        Some((_, item)) => item.split_once('>')?.1.split_once("</rdf:li")?.0,
        None => element.split_once('>')?.1,
    };
    Some(unescaped(text.trim()))
}

/// XML's entities as the characters they stand for.
fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        plain.push_str(before);
        let found = after.split_once(';').and_then(|(name, after)| {
            let c = match name {
                "quot" => '"',
                "apos" => '\'',
                "lt" => '<',
                "gt" => '>',
                "amp" => '&',
                name => {
                    let number = name.strip_prefix('#')?;
                    let code = match number.strip_prefix('x') {
                        Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                        None => number.parse().ok()?,
                    };
                    char::from_u32(code)?
                }
            };
            Some((c, after))
        });
        match found {
            Some((c, after)) => {
                plain.push(c);
                rest = after;
            }
            None => {
                plain.push('&');
                rest = after;
            }
        }
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::{unescaped, user_comment};

    #[test]
    fn the_comment_is_found_in_either_place() {
        let element = "<x><exif:UserComment><rdf:Alt><rdf:li xml:lang=\"x-default\">\
                       {&quot;c&quot;:&quot;a &amp; b&#10;&quot;}</rdf:li></rdf:Alt>\
                       </exif:UserComment></x>";
        let expected = Some("{\"c\":\"a & b\n\"}".to_owned());
        assert_eq!(user_comment(element), expected);
        let attribute = "<x exif:UserComment=\"{&quot;c&quot;:1}\"/>";
        assert_eq!(user_comment(attribute).as_deref(), Some("{\"c\":1}"));
        assert_eq!(
            user_comment("<exif:UserComment>a</exif:UserComment>").as_deref(),
            Some("a")
        );
        for broken in [
            "",
            "exif:UserComment",
            "exif:UserComment=\"x",
            "<exif:UserComment><rdf:li",
        ] {
            assert_eq!(user_comment(broken), None, "{broken}");
        }
        assert_eq!(
            unescaped("a & b &nope; &#x1F98A; &#xD800;"),
            "a & b &nope; 🦊 &#xD800;"
        );
    }
}
