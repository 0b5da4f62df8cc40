//! Faults as a person reads them: the line itself with a caret, and what to do.

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::ambient::text::printable;
use crate::policy::fault::Fault;

/// All faults as text, one after the other, and how many there are. Colour is for terminals only.
pub fn render(faults: &[Fault], colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let renderer = renderer.decor_style(DecorStyle::Ascii);
    let mut out = String::new();
    for fault in faults {
        out.push_str(&one(fault, &renderer));
        out.push_str("\n\n");
    }
    let files: std::collections::BTreeSet<&str> = faults.iter().map(|f| &*f.place.file).collect();
    let plural = |n: usize| if n == 1 { "" } else { "s" };
    out.push_str(&format!(
        "{} fault{} in {} file{}",
        faults.len(),
        plural(faults.len()),
        files.len(),
        plural(files.len())
    ));
    out
}

fn one(fault: &Fault, renderer: &Renderer) -> String {
    let message = one_line(&fault.message);
    let title = Level::ERROR.primary_title(message.as_str());
    let source = one_line(&fault.source_line);
    let path = printable(&fault.place.file);
    let mut main = title.elements(Vec::<annotate_snippets::Message<'_>>::new());
    if fault.place.line > 0 {
        let line = usize::try_from(fault.place.line).unwrap_or(1);
        let from = usize::try_from(fault.place.column).unwrap_or(1).saturating_sub(1);
        let length = usize::try_from(fault.place.length).unwrap_or(1).max(1);
        let span = byte_at(&source, from)..byte_at(&source, from + length);
        let annotation = AnnotationKind::Primary.span(span);
        main = main.element(
            Snippet::source(source.as_str()).line_start(line).path(path.as_str()).annotation(annotation),
        );
    }
    let hint = fault.hint.as_deref().map(one_line);
    let mut report: Vec<Group<'_>> = vec![main];
    if let Some(hint) = &hint {
        report.push(Group::with_title(Level::HELP.secondary_title(hint.as_str())));
    }
    renderer.render(&report).to_string()
}

/// Policy files are other people's text: nothing in them may steer a terminal. Each character stays one, for the caret.
fn one_line(text: &str) -> String {
    printable(&text.replace(['\n', '\t'], " "))
}

fn byte_at(text: &str, characters: usize) -> usize {
    text.char_indices().nth(characters).map_or(text.len(), |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use crate::policy::fault::Place;

    use super::*;

    #[test]
    fn a_caret_stands_below_the_place() {
        let place = Place { file: "controls/tls.yaml".into(), line: 3, column: 11, length: 4 };
        let mut fault = Fault::new(&place, "`hihg` is no severity").hint("did you mean `high`?");
        fault.source_line = "severity: hihg\u{7}".into();
        let text = render(&[fault], false);
        assert!(text.contains("--> controls/tls.yaml:3:11"), "{text}");
        assert!(text.contains("|           ^^^^"), "{text}");
        assert!(text.contains("help: did you mean `high`?"), "{text}");
        assert!(text.ends_with("1 fault in 1 file"), "{text}");
        assert!(!text.contains('\u{7}') && !text.contains('\u{1b}'));
    }
}
