/** Puts a {@link MethodTranslator} beside the parser of a connection. */

import { MethodTranslator } from './method-translator.ts'
import type { ParseError, Parser, Result } from './node-parser.ts'

/** By a callback that Node takes off the parser when the connection ends. */
const translators = new WeakMap<object, MethodTranslator>()
const patched = new WeakSet<Parser>()

/** The reader of the connection for which the parser works now, if it is one that we follow. */
function translatorOf(parser: Parser): MethodTranslator | undefined {
  return translators.get(parser[parser.constructor.kOnMessageBegin] as object)
}

/** Follows a connection of which the parser has not yet read a byte. */
export function hookParser(parser: Parser): void {
  const { kOnMessageBegin, kOnExecute } = parser.constructor
  // By us, or by another copy of this package.
  if (parser[kOnMessageBegin]) return
  if (!patched.has(parser)) patchParser(parser)
  const { onIncoming } = parser
  const onExecute = parser[kOnExecute] as (result: Result) => void
  const reader = new MethodTranslator(parser)
  const began = () => reader.onMessageBegin()
  translators.set(began, reader)
  // These three are taken off again by Node when the connection ends.
  parser[kOnMessageBegin] = began
  parser.onIncoming = (request, keepAlive) => {
    reader.onHeadComplete(request)
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
function patchParser(parser: Parser): void {
  patched.add(parser)
  const { kOnBody, prototype } = parser.constructor
  const { execute, finish, getCurrentBuffer } = parser
  const isOther =
    execute !== prototype.execute ||
    finish !== prototype.finish ||
    getCurrentBuffer !== prototype.getCurrentBuffer
  if (isOther) originalMethods.set(parser, { execute, finish, getCurrentBuffer })
  parser[kOnBody] = patchedOnBody(parser[kOnBody] as OnBody)
  parser.execute = patchedExecute
  parser.finish = patchedFinish
  parser.getCurrentBuffer = patchedGetCurrentBuffer
}

/** What a parser had before, if it was not its class's: another copy of this package may have been there. */
const originalMethods = new WeakMap<Parser, Pick<Parser, 'execute' | 'finish' | 'getCurrentBuffer'>>()
const originalOf = (parser: Parser) => originalMethods.get(parser) ?? parser.constructor.prototype

type OnBody = (this: Parser, piece: Uint8Array) => unknown

/** By what Node calls with each piece of a body, which is one function for all of its parsers. */
const onBodies = new WeakMap<OnBody, OnBody>()

function patchedOnBody(onBody: OnBody): OnBody {
  const known = onBodies.get(onBody)
  if (known) return known
  const beside: OnBody = function (piece) {
    translatorOf(this)?.onBodyBytes(piece)
    return onBody.call(this, piece)
  }
  onBodies.set(onBody, beside)
  return beside
}

function patchedExecute(this: Parser, chunk: Uint8Array): Result {
  const result = originalOf(this).execute.call(this, chunk)
  return translatorOf(this)?.read(result, chunk) ?? result
}

function patchedFinish(this: Parser): ParseError | undefined {
  return translatorOf(this)?.pendingError ?? originalOf(this).finish.call(this)
}

function patchedGetCurrentBuffer(this: Parser): Uint8Array {
  return translatorOf(this)?.shareChunk() ?? originalOf(this).getCurrentBuffer.call(this)
}
