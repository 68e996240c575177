//! JSON objects of our own making as items of a YAML list: members on lines of their own, what is nested in
//! them in flow style, which is JSON anyway.

/// Appends `object` as a list item, its lines indented by `indent` spaces.
pub(super) fn item(out: &mut Vec<u8>, object: &[u8], indent: usize) {
    let mut lead = b'-';
    for member in members(object) {
        out.resize(out.len() + indent, b' ');
        out.extend_from_slice(&[lead, b' ']);
        self::member(out, member);
        lead = b' ';
    }
    if lead == b'-' {
        out.extend_from_slice(b"- {}\n");
    }
}

/// Appends the members of `object` as a mapping.
pub(super) fn mapping(out: &mut Vec<u8>, object: &[u8]) {
    members(object).for_each(|member| self::member(out, member));
}

/// `"key":value` becomes a line `key: value`. Keys are snake_case words.
fn member(out: &mut Vec<u8>, member: &[u8]) {
    let rest = member.strip_prefix(b"\"").unwrap_or(member);
    let end = rest.iter().position(|b| *b == b'"').unwrap_or(rest.len());
    let (key, value) = rest.split_at(end);
    out.extend_from_slice(key);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.strip_prefix(b"\":").unwrap_or(value));
    out.push(b'\n');
}

/// The texts between the commas of the outermost level.
fn members(object: &[u8]) -> impl Iterator<Item = &[u8]> {
    let inner = object.strip_prefix(b"{").and_then(|o| o.strip_suffix(b"}")).unwrap_or(object);
    let (mut depth, mut in_string, mut escaped) = (0u32, false, false);
    let parts = inner.split(move |byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            b',' if !in_string && depth == 0 => return true,
            _ => {}
        }
        false
    });
    parts.filter(|part| !part.is_empty())
}
