/**
 * Types for the parts of http-auth and http-auth-connect that the examples use. These packages have no types.
 * Copy this file together with the examples.
 */

declare module 'http-auth' {
  import type { IncomingMessage } from 'node:http'

  /** The users that may upload. */
  export interface Accounts {
    /** The value of WWW-Authenticate in the 401 response to a request. */
    generateHeader(result: { readonly stale?: boolean }): string
  }

  export interface DigestAccounts extends Accounts {
    /** The parameters of Authorization; undefined if its scheme is not Digest. */
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
     * @param options `file`: the path of a file of lines `user:realm:md5(user:realm:password)`, or a function
     * that returns its text
     */
    digest(options: { readonly realm: string; readonly file: string | (() => string) }): DigestAccounts
  }
  export default auth
}

declare module 'http-auth-connect' {
  import type { RequestHandler } from 'express'
  import type { Accounts } from 'http-auth'

  /** Responds with 401 unless the credentials are valid. Sets `request.user` to the name of the user. */
  export default function authConnect(accounts: Accounts): RequestHandler
}
