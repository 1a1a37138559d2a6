/**
 * What the examples use of http-auth and http-auth-connect, which have no types of their own. To be copied along with
 * the examples into TypeScript.
 */

declare module 'http-auth' {
  import type { IncomingMessage } from 'node:http'

  /** Who may in. */
  export interface Accounts {
    /** The value of WWW-Authenticate for a request that was not let in. */
    generateHeader(result: { readonly stale?: boolean }): string
  }

  export interface DigestAccounts extends Accounts {
    /** The parameters of an Authorization, undefined where it is none of Digest. */
    parseAuthorization(header: string): Readonly<Record<string, string | undefined>> | undefined
  }

  const auth: {
    basic(
      options: { readonly realm: string },
      checker: (
        user: string,
        password: string,
        callback: (isRight: boolean) => void,
        request: IncomingMessage,
      ) => void,
    ): Accounts

    /**
     * @param options `file`: the path of a file of lines `user:realm:md5(user:realm:password)`, or a function that
     * returns its text
     */
    digest(options: { readonly realm: string; readonly file: string | (() => string) }): DigestAccounts
  }
  export default auth
}

declare module 'http-auth-connect' {
  import type { RequestHandler } from 'express'
  import type { Accounts } from 'http-auth'

  /** Answers 401 to whom the accounts do not know, and writes the name of the others into `request.user`. */
  export default function authConnect(accounts: Accounts): RequestHandler
}
