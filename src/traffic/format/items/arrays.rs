//! Ways into arrays inside of objects, and out of them: their items are read one by one, the rest is skipped.

use std::io::{self, BufRead};

use super::{Items, State};

impl<R: BufRead> Items<R> {
    /// Enters the array that an object begins with. Where it begins with something else, its beginning is in the buffer
    /// then.
    pub(super) fn open(&mut self) -> io::Result<bool> {
        self.take();
        let mut beginning = b"{".to_vec();
        if self.skip_space()? == Some(b'"') {
            self.value(b'"')?;
            let key = serde_json::from_slice::<String>(&self.buffer);
            beginning.append(&mut self.buffer);
            if self.skip_space()? == Some(b':') {
                self.take();
                beginning.push(b':');
                let key = key.unwrap_or_default();
                let nest = self
                    .nests
                    .iter()
                    .find(|nest| nest.first() == Some(&key.as_str()));
                if let Some(nest) = nest
                    && self.skip_space()? == Some(b'[')
                {
                    self.take();
                    self.nest = nest;
                    self.state = State::Opened(0);
                    return Ok(true);
                }
            }
        }
        self.buffer = beginning;
        Ok(false)
    }

    /// Enters the array of an object on the way. False when it has none, and is skipped.
    pub(super) fn open_inner(&mut self, level: usize) -> io::Result<bool> {
        let is_there = self.enter_key(self.nest[level])? && self.skip_space()? == Some(b'[');
        if is_there {
            self.take();
            self.state = State::Opened(level);
        } else {
            self.leave_object()?;
        }
        Ok(is_there)
    }

    /// Skips the end of an array: a file that is cut off has none.
    fn close_array(&mut self) -> io::Result<()> {
        if self.skip_space()? == Some(b']') {
            self.take();
            return Ok(());
        }
        let message = "an array has no end: the file is cut off";
        Err(io::Error::new(io::ErrorKind::UnexpectedEof, message))
    }

    /// Goes on behind the array that the file, or what was looked for in it, consists of: another one may follow.
    pub(super) fn end_array(&mut self) -> io::Result<()> {
        self.close_array()?;
        self.state = match self.path.is_empty() {
            true => self.at_the_top()?,
            false => State::Done,
        };
        Ok(())
    }

    /// What comes next at the top of the file.
    fn at_the_top(&mut self) -> io::Result<State> {
        Ok(match self.skip_space()? {
            Some(b'[') => {
                self.take();
                State::Array
            }
            _ => State::Sequence,
        })
    }

    /// Skips the end of an array, and what follows it in its object.
    pub(super) fn leave_array(&mut self, level: usize) -> io::Result<()> {
        self.close_array()?;
        self.state = match level.checked_sub(1) {
            Some(outer) => State::Opened(outer),
            None => State::Sequence,
        };
        self.leave_object()
    }

    /// Skips the rest of an object.
    fn leave_object(&mut self) -> io::Result<()> {
        loop {
            match self.skip_space()? {
                Some(b',' | b':') => self.take(),
                Some(b'}') => {
                    self.take();
                    return Ok(());
                }
                None | Some(b']') => return Ok(()),
                Some(first) => {
                    self.value(first)?;
                }
            }
        }
    }

    /// Reads an object up to the value of this key. False when it has no such key, or is none.
    pub(super) fn enter_key(&mut self, key: &str) -> io::Result<bool> {
        if self.skip_space()? != Some(b'{') {
            return Ok(false);
        }
        self.take();
        loop {
            match self.skip_to_value()? {
                Some(first @ b'"') => {
                    self.value(first)?;
                    let found = serde_json::from_slice::<String>(&self.buffer);
                    let is_it = found.is_ok_and(|found| found == key);
                    if self.skip_space()? != Some(b':') {
                        return Ok(false);
                    }
                    self.take();
                    if is_it {
                        return Ok(true);
                    }
                    match self.skip_space()? {
                        Some(first) => self.value(first)?,
                        None => return Ok(false),
                    };
                }
                _ => return Ok(false),
            }
        }
    }
}
