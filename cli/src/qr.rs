//! A link as a QR code, two rows of modules in one row of characters.

use qrcode::{Color, EcLevel, QrCode};

/// Modules of white around the code, which readers need.
const QUIET: usize = 2;

/// Draws a text; `None` if it is too long for any code. Light modules are drawn, dark ones are the (dark) background.
pub(crate) fn draw(text: &str) -> Option<Vec<String>> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    let (side, colors) = (code.width(), code.to_colors());
    let is_light = |x: usize, y: usize| {
        let inside = |at: usize| (QUIET..QUIET + side).contains(&at);
        !(inside(x) && inside(y)) || colors[(y - QUIET) * side + x - QUIET] == Color::Light
    };
    let full = side + 2 * QUIET;
    let row = |top: usize| {
        let half = |x| match (is_light(x, top), top + 1 < full && is_light(x, top + 1)) {
            (true, true) => '█',
            (true, false) => '▀',
            (false, true) => '▄',
            (false, false) => ' ',
        };
        (0..full).map(half).collect()
    };
    Some((0..full).step_by(2).map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_square_and_has_its_finders() {
        let rows = draw("clave://join/abc").unwrap();
        let columns = rows[0].chars().count();
        assert!(rows.iter().all(|row| row.chars().count() == columns));
        assert_eq!(rows.len(), columns.div_ceil(2));
        assert!(rows[0].chars().all(|c| c == '█'), "the quiet zone");
        // The upper left finder: a dark frame, a light one, a dark core.
        let corner: String = rows[1].chars().skip(QUIET).take(7).collect();
        assert_eq!(corner, " ▄▄▄▄▄ ");
        assert_eq!(draw(&"x".repeat(3_000)), None);
    }
}
