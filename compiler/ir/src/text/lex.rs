//! Tokens of the text form, and a cursor over them. It knows no grammar.

use super::TextError;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Word(String),
    /// Digits with an optional fraction and exponent; no sign.
    Number(String),
    /// Between double quotes, unescaped.
    Quoted(String),
    /// `%name`
    Value(String),
    /// `?name`
    Var(String),
    /// `#hexadecimal`
    Hash(String),
    /// `..`
    Range,
    Punct(char),
    End,
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Token::Word(s) | Token::Number(s) => write!(f, "`{s}`"),
            Token::Quoted(s) => write!(f, "{s:?}"),
            Token::Value(s) => write!(f, "`%{s}`"),
            Token::Var(s) => write!(f, "`?{s}`"),
            Token::Hash(s) => write!(f, "`#{s}`"),
            Token::Range => f.write_str("`..`"),
            Token::Punct(c) => write!(f, "`{c}`"),
            Token::End => f.write_str("the end of the text"),
        }
    }
}

/// Reads tokens from the front of a text.
pub(super) struct Cursor<'a> {
    text: &'a str,
    /// Tokens with the byte at which they start; the last one is `End`.
    tokens: Vec<(Token, usize)>,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Result<Cursor<'a>, TextError> {
        let mut cursor = Cursor { text, tokens: vec![], at: 0 };
        let mut byte = 0;
        loop {
            byte += blank(&text[byte..]);
            let (token, length) = lex(&text[byte..]).map_err(|message| cursor.error_at(byte, message))?;
            let end = token == Token::End;
            cursor.tokens.push((token, byte));
            byte += length;
            if end {
                return Ok(cursor);
            }
        }
    }

    pub(super) fn peek(&self) -> &Token {
        &self.tokens[self.at].0
    }

    pub(super) fn peek_second(&self) -> &Token {
        &self.tokens[(self.at + 1).min(self.tokens.len() - 1)].0
    }

    pub(super) fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    /// Takes the punctuation mark if it comes next.
    pub(super) fn take(&mut self, mark: char) -> bool {
        let found = *self.peek() == Token::Punct(mark);
        if found {
            self.next();
        }
        found
    }

    /// Takes the word if it comes next.
    pub(super) fn take_word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Token::Word(w) if w == word);
        if found {
            self.next();
        }
        found
    }

    pub(super) fn expect(&mut self, mark: char) -> Result<(), TextError> {
        if self.take(mark) { Ok(()) } else { Err(self.expected(&format!("`{mark}`"))) }
    }

    /// A word, `what` in the error.
    pub(super) fn word(&mut self, what: &str) -> Result<String, TextError> {
        match self.peek().clone() {
            Token::Word(word) => {
                self.next();
                Ok(word)
            }
            _ => Err(self.expected(what)),
        }
    }

    pub(super) fn quoted(&mut self, what: &str) -> Result<String, TextError> {
        match self.peek().clone() {
            Token::Quoted(text) => {
                self.next();
                Ok(text)
            }
            _ => Err(self.expected(what)),
        }
    }

    pub(super) fn end(&self) -> Result<(), TextError> {
        if *self.peek() == Token::End { Ok(()) } else { Err(self.expected("the end of the text")) }
    }

    /// `item, item, …` up to `close`, which is taken too. The list may be empty.
    pub(super) fn list<T>(&mut self, close: char, mut item: impl FnMut(&mut Self) -> Result<T, TextError>) -> Result<Vec<T>, TextError> {
        let mut items = vec![];
        if self.take(close) {
            return Ok(items);
        }
        loop {
            items.push(item(self)?);
            if !self.take(',') {
                self.expect(close)?;
                return Ok(items);
            }
        }
    }

    /// The place of the next token, for [`Cursor::error_at`].
    pub(super) fn place(&self) -> usize {
        self.tokens[self.at].1
    }

    pub(super) fn expected(&self, what: &str) -> TextError {
        self.error_at(self.place(), format!("expected {what}, found {}", self.peek()))
    }

    pub(super) fn error_at(&self, byte: usize, message: impl Into<String>) -> TextError {
        let before = &self.text[..byte];
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        TextError { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1, message: message.into() }
    }
}

/// Bytes of white space and `//` comments at the front.
fn blank(text: &str) -> usize {
    let mut rest = text.trim_start();
    while rest.starts_with("//") {
        rest = rest.find('\n').map_or("", |i| &rest[i..]).trim_start();
    }
    text.len() - rest.len()
}

/// The first token and its length in bytes.
fn lex(text: &str) -> Result<(Token, usize), String> {
    let word = |text: &str| text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    let Some(first) = text.chars().next() else { return Ok((Token::End, 0)) };
    Ok(match first {
        'a'..='z' | 'A'..='Z' | '_' => {
            let n = word(text);
            (Token::Word(text[..n].into()), n)
        }
        '0'..='9' => {
            let n = number(text);
            (Token::Number(text[..n].into()), n)
        }
        '"' => quoted(text)?,
        '%' | '?' | '#' => {
            let n = word(&text[1..]) + 1;
            if n == 1 {
                return Err(format!("`{first}` needs a name"));
            }
            let name = text[1..n].to_string();
            match first {
                '%' => (Token::Value(name), n),
                '?' => (Token::Var(name), n),
                _ => (Token::Hash(name), n),
            }
        }
        '.' if text.starts_with("..") => (Token::Range, 2),
        '(' | ')' | '[' | ']' | '{' | '}' | ',' | ';' | ':' | '=' | '@' | '+' | '-' | '*' => (Token::Punct(first), 1),
        other => return Err(format!("unexpected character {other:?}")),
    })
}

/// Length of the number at the front. A range's dots do not belong to it.
fn number(text: &str) -> usize {
    let bytes = text.as_bytes();
    let digits = |mut i: usize| {
        while bytes.get(i).is_some_and(u8::is_ascii_digit) {
            i += 1;
        }
        i
    };
    let mut n = digits(0);
    if bytes.get(n) == Some(&b'.') && bytes.get(n + 1) != Some(&b'.') {
        n = digits(n + 1);
    }
    if matches!(bytes.get(n), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(n + 1), Some(b'+' | b'-')));
        let end = digits(n + 1 + sign);
        if end > n + 1 + sign {
            n = end;
        }
    }
    n
}

/// A string in double quotes with Rust's escapes.
fn quoted(text: &str) -> Result<(Token, usize), String> {
    let mut out = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((i, c)) = chars.next() {
        match c {
            '"' => return Ok((Token::Quoted(out), i + 1)),
            '\\' => match chars.next().map(|(_, c)| c) {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some('r') => out.push('\r'),
                Some('0') => out.push('\0'),
                Some('u') => {
                    let code: String = chars.by_ref().map(|(_, c)| c).take_while(|c| *c != '}').filter(|c| *c != '{').collect();
                    out.push(u32::from_str_radix(&code, 16).ok().and_then(char::from_u32).ok_or("a bad unicode escape")?);
                }
                Some(c) => out.push(c),
                None => break,
            },
            c => out.push(c),
        }
    }
    Err("a string without its closing quote".into())
}
