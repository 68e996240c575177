use std::collections::BTreeSet;
use std::ffi::OsString;

use super::*;

/// Section 5.1 of the ABI notes, number by number.
const DROP_CODES: [u8; 78] = [
    130, 131, 132, 133, 134, 135, 136, 137, 138, 139, 140, 141, 142, 143, 144, 145, 146, 147, 148, 149, 150,
    151, 152, 153, 154, 155, 156, 157, 158, 159, 160, 161, 162, 163, 164, 165, 166, 167, 168, 169, 170, 171,
    172, 173, 174, 175, 176, 177, 178, 179, 180, 181, 182, 183, 184, 185, 186, 187, 188, 189, 190, 191, 192,
    193, 194, 195, 196, 197, 198, 199, 200, 201, 202, 203, 204, 205, 206, 207,
];
/// Section 5.2.
const COUNTED_CODES: [u8; 15] = [0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
/// Section 5.3: the reason, and a value whose meaning the table gives.
const EXT_ERRORS: [(u8, i16); 17] = [
    (140, 1),
    (140, 7),
    (140, 49),
    (155, -12),
    (155, -7),
    (155, -16),
    (169, 1),
    (169, 2),
    (169, 3),
    (169, 4),
    (169, 5),
    (169, 6),
    (169, 7),
    (169, 8),
    (169, 9),
    (189, 1),
    (189, 2),
];
const ALL: [Group; 4] = [Group::Cilium, Group::CiliumCount, Group::ExtError, Group::Kernel];

/// A kernel with reasons of its own, in its core and in a subsystem.
fn book() -> Book {
    let reason = |number, name: &str, subsystem: &str| KernelReason {
        number,
        name: name.into(),
        subsystem: subsystem.into(),
    };
    Book::new(Some(&[
        reason(3, "NO_SOCKET", "core"),
        reason(133, "NEWER_THAN_TRACER", "core"),
        reason(0x2_0001, "OVS_DROP_LAST_ACTION", "openvswitch"),
    ]))
}

fn found(word: &str) -> Vec<(Group, String)> {
    book().find(word, &ALL).into_iter().map(|entry| (entry.group, entry.name.clone())).collect()
}

fn the_one(word: &str) -> Entry {
    let book = book();
    let found = book.find(word, &ALL);
    assert_eq!(found.len(), 1, "{word}: {found:?}");
    found[0].clone()
}

#[test]
fn every_code_of_the_published_tables_is_explained() {
    let codes = |group| -> Vec<i64> {
        book().entries().iter().filter(|e| e.group == group).filter_map(|entry| entry.number).collect()
    };
    assert_eq!(codes(Group::Cilium), DROP_CODES.map(i64::from));
    assert_eq!(codes(Group::CiliumCount), COUNTED_CODES.map(i64::from));
    for (code, value) in EXT_ERRORS {
        let book = book();
        let entry = book.entries().iter().find(|e| e.group == Group::Cilium && e.number == Some(code.into()));
        let errors = entry.map(Entry::ext_errors).unwrap_or_default();
        assert!(errors.iter().any(|error| error.value == value), "{code}: {value}: {errors:?}");
    }
}

#[test]
fn every_part_of_every_text_says_something() {
    for entry in book().entries().iter().filter(|entry| entry.name != "NEWER_THAN_TRACER") {
        let text = entry.text.unwrap_or_else(|| panic!("{} has no text", entry.name));
        let name = &entry.name;
        assert!(text.meaning.len() > 15 && text.brief().ends_with('.'), "{name}: {}", text.meaning);
        assert!(!text.causes.is_empty() && !text.action.is_empty(), "{name}");
        assert!(!entry.confirm().is_empty(), "{name}");
        let sentences = text.causes.iter().chain(text.action).copied();
        for sentence in sentences.chain(entry.confirm().iter().map(|(_, shows)| *shows)) {
            assert!(sentence.len() >= 8 && !sentence.contains("  "), "{name}: `{sentence}`");
        }
        assert!(!text.meaning.contains("  ") && !text.meaning.contains('\n'), "{name}: {}", text.meaning);
    }
}

#[test]
fn no_reason_has_two_texts() {
    let names: Vec<String> = kernel::names().map(|(name, ..)| words::bare(name)).collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
}

/// Words in capitals stand for what the reader knows.
const PLACEHOLDERS: [(&str, &str); 8] = [
    ("ENDPOINT_ID", "1001"),
    ("ENDPOINT", "default/client"),
    ("IP:PORT", "10.96.0.10:53"),
    ("IP", "10.0.0.1"),
    ("SOURCE", "10.0.0.1:40000"),
    ("DESTINATION", "10.0.0.2:80"),
    ("PORT", "80"),
    ("ID", "12345"),
];

#[test]
fn every_command_that_a_text_names_is_one() {
    for entry in book().entries() {
        for (command, _) in entry.confirm() {
            let word = |word: &str| {
                let stands_for = PLACEHOLDERS.iter().find(|(placeholder, _)| *placeholder == word);
                OsString::from(stands_for.map_or(word, |(_, example)| example))
            };
            let parsed = crate::cli::parse(command.split(' ').map(word));
            assert!(parsed.is_ok(), "{}: `{command}`: {}", entry.name, parsed.unwrap_err());
        }
    }
}

#[test]
fn a_reason_is_found_by_all_its_names() {
    for word in ["POLICY_DENIED", "policy_denied", "DROP_POLICY", "drop_policy", "POLICY", "Policy denied"] {
        assert_eq!(the_one(word).number, Some(133), "{word}");
    }
    for word in
        ["NO_SOCKET", "no_socket", "SKB_DROP_REASON_NO_SOCKET", "skb_drop_reason_no_socket", "no socket"]
    {
        assert_eq!((the_one(word).group, the_one(word).number), (Group::Kernel, Some(3)), "{word}");
    }
    assert_eq!(the_one("CT: Map insertion failed").number, Some(155));
    assert_eq!(the_one("CT_MISSING_TCP_ACK_FLAG").number, Some(136));
    assert_eq!(the_one("unsupp_service_proto").number, Some(159));
    assert_eq!(the_one("ENOMEM").number, Some(-12));
    assert_eq!(the_one("no neighbour").number, Some(7));
    assert_eq!(the_one("Interface Decrypted").number, Some(4));
}

#[test]
fn numbers_are_codes_verdicts_errors_and_the_running_kernels() {
    let policy = (Group::Cilium, "POLICY_DENIED".to_owned());
    assert_eq!(found("133"), [policy.clone(), (Group::Kernel, "NEWER_THAN_TRACER".to_owned())]);
    assert_eq!(found("0x85"), found("133"));
    assert_eq!(found("-133"), std::slice::from_ref(&policy));
    assert_eq!(book().find("133", &[Group::Cilium]).len(), 1);
    assert_eq!(
        found("3"),
        [(Group::CiliumCount, "Interface".to_owned()), (Group::Kernel, "NO_SOCKET".to_owned())]
    );
    assert_eq!(found("-12"), [(Group::ExtError, "ENOMEM".to_owned())]);
    assert_eq!(found("131073"), [(Group::Kernel, "OVS_DROP_LAST_ACTION".to_owned())]);
    for word in ["208", "129", "1", "-1000", "99999999999999999999", "0xffffffffff"] {
        assert!(found(word).is_empty(), "{word}: {:?}", found(word));
    }
}

/// `Invalid packet` is what both 2 and 134 are called.
#[test]
fn words_with_two_meanings_give_both() {
    let numbers: Vec<_> = book().find("Invalid packet", &ALL).iter().map(|entry| entry.number).collect();
    assert_eq!(numbers, [Some(134), Some(2)]);
}

#[test]
fn unknown_words_have_neighbours() {
    let nearest = |word: &str| book().nearest(word, &ALL);
    assert_eq!(nearest("POLCY_DENIED").first().map(String::as_str), Some("POLICY_DENIED"));
    assert_eq!(nearest("no_sokcet").first().map(String::as_str), Some("NO_SOCKET"));
    assert!(nearest("tunnel").contains(&"ERROR_RETRIEVING_TUNNEL_KEY".to_owned()), "{:?}", nearest("tunnel"));
    for word in ["", "   ", "§§", "completely different words", "\u{1b}[2J"] {
        assert!(found(word).is_empty() && nearest(word).len() <= SUGGESTIONS, "{word}");
    }
    assert!(nearest("").is_empty() && nearest("qqqqqqqq").is_empty());
}

#[test]
fn a_reason_without_text_says_so_and_one_of_other_kernels_has_no_number() {
    let newer = the_one("NEWER_THAN_TRACER");
    assert!(newer.text.is_none() && newer.theme == "core");
    assert_eq!(newer.confirm()[0].0, "tracer drops --all --kernel-reason NEWER_THAN_TRACER");
    let older = the_one("PTYPE_ABSENT");
    assert!(older.text.is_some() && older.number.is_none());
}
