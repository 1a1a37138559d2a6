/** Puts a {@link VerbReader} beside the parser of a connection. */

import type { ParseError, Parser, Result } from './parser.ts'
import { VerbReader } from './verb-reader.ts'

/** By a callback that Node takes off the parser when the connection ends. */
const readers = new WeakMap<object, VerbReader>()
const adapted = new WeakSet<Parser>()

/** The reader of the connection for which the parser works now, if it is one that we follow. */
function readerBeside(parser: Parser): VerbReader | undefined {
  return readers.get(parser[parser.constructor.kOnMessageBegin] as object)
}

/** Follows a connection of which the parser has not yet read a byte. */
export function follow(parser: Parser): void {
  const { kOnMessageBegin, kOnExecute } = parser.constructor
  // By us, or by another copy of this package.
  if (parser[kOnMessageBegin]) return
  if (!adapted.has(parser)) adapt(parser)
  const { onIncoming } = parser
  const onExecute = parser[kOnExecute] as (result: Result) => void
  const reader = new VerbReader(parser)
  const began = () => reader.began()
  readers.set(began, reader)
  // These three are taken off again by Node when the connection ends.
  parser[kOnMessageBegin] = began
  parser.onIncoming = (request, keepAlive) => {
    reader.announced(request)
    return onIncoming(request, keepAlive)
  }
  parser[kOnExecute] = (result: Result) => {
    try {
      onExecute(reader.read(result))
    } finally {
      reader.dropChunk()
    }
  }
}

/**
 * Once for each parser, because Node does not take these off: they stay while it works for others, clients among them,
 * and so must do for those what they replace, and hold nothing of any. The same functions for all parsers: a server may
 * have thousands.
 */
function adapt(parser: Parser): void {
  adapted.add(parser)
  const { kOnBody, prototype } = parser.constructor
  const { execute, finish, getCurrentBuffer } = parser
  const isOther =
    execute !== prototype.execute ||
    finish !== prototype.finish ||
    getCurrentBuffer !== prototype.getCurrentBuffer
  if (isOther) others.set(parser, { execute, finish, getCurrentBuffer })
  parser[kOnBody] = onBodyBeside(parser[kOnBody] as OnBody)
  parser.execute = executeBeside
  parser.finish = finishBeside
  parser.getCurrentBuffer = getCurrentBufferBeside
}

/** What a parser had before, if it was not its class's: another copy of this package may have been there. */
const others = new WeakMap<Parser, Pick<Parser, 'execute' | 'finish' | 'getCurrentBuffer'>>()
const behind = (parser: Parser) => others.get(parser) ?? parser.constructor.prototype

type OnBody = (this: Parser, piece: Uint8Array) => unknown

/** By what Node calls with each piece of a body, which is one function for all of its parsers. */
const onBodies = new WeakMap<OnBody, OnBody>()

function onBodyBeside(onBody: OnBody): OnBody {
  const known = onBodies.get(onBody)
  if (known) return known
  const beside: OnBody = function (piece) {
    readerBeside(this)?.got(piece)
    return onBody.call(this, piece)
  }
  onBodies.set(onBody, beside)
  return beside
}

function executeBeside(this: Parser, chunk: Uint8Array): Result {
  const result = behind(this).execute.call(this, chunk)
  return readerBeside(this)?.read(result, chunk) ?? result
}

function finishBeside(this: Parser): ParseError | undefined {
  return readerBeside(this)?.refusal ?? behind(this).finish.call(this)
}

function getCurrentBufferBeside(this: Parser): Uint8Array {
  return readerBeside(this)?.shareChunk() ?? behind(this).getCurrentBuffer.call(this)
}
